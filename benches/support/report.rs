//! The measured rows, as a table of at most 100 columns and as JSON.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use super::stats::{Pair, median, spread};

/// The unit of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Seconds,
    Nanoseconds,
    PerSecond,
    Percent,
    Mebibytes,
    Kibibytes,
    Microseconds,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Nanoseconds => "ns",
            Self::PerSecond => "/s",
            Self::Percent => "%",
            Self::Mebibytes => "MiB",
            Self::Kibibytes => "KiB",
            Self::Microseconds => "µs",
        }
    }
}

/// The goal of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// The largest ratio of ours to the baseline.
    RatioAtMost(f64),
    /// The smallest ratio of ours to the baseline.
    RatioAtLeast(f64),
    /// The largest value of ours.
    AtMost(f64),
}

/// One figure: the values of agent-sync and of its baseline for every round.
#[derive(Debug, Clone)]
pub struct Row {
    pub figure: &'static str,
    pub label: String,
    pub beside_what: &'static str,
    pub unit: Unit,
    pub ours: Vec<f64>,
    pub beside: Vec<f64>,
    pub goal: Option<Goal>,
    /// Whether the goal belongs to this row, or is shown for comparison only.
    pub binding: bool,
}

impl Row {
    /// A row of values with a baseline.
    pub fn new(
        label: impl Into<String>,
        unit: Unit,
        beside_what: &'static str,
        pairs: &[Pair],
    ) -> Self {
        Self {
            figure: "",
            label: label.into(),
            beside_what,
            unit,
            ours: pairs.iter().map(|pair| pair.ours).collect(),
            beside: pairs.iter().map(|pair| pair.beside).collect(),
            goal: None,
            binding: true,
        }
    }

    /// A row without a baseline.
    pub fn alone(label: impl Into<String>, unit: Unit, ours: &[f64]) -> Self {
        let mut row = Self::new(label, unit, "", &[]);
        row.ours = ours.to_vec();
        row
    }

    /// Sets the goal.
    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Sets a goal of another row, shown for comparison.
    pub fn goal_of_another(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self.binding = false;
        self
    }

    /// The ratio of each round.
    pub fn ratios(&self) -> Vec<f64> {
        self.ours
            .iter()
            .zip(&self.beside)
            .map(|(ours, beside)| ours / beside)
            .collect()
    }

    /// Whether the median meets the goal; `None` without a goal.
    pub fn met(&self) -> Option<bool> {
        Some(match self.goal? {
            Goal::RatioAtMost(most) => median(&self.ratios()) <= most,
            Goal::RatioAtLeast(least) => median(&self.ratios()) >= least,
            Goal::AtMost(most) => median(&self.ours) <= most,
        })
    }

    fn json(&self) -> Value {
        let summary = |values: &[f64]| {
            let (least, most) = spread(values);
            let of_none = values.is_empty();
            if of_none {
                Value::Null
            } else {
                json!({ "median": median(values), "min": least, "max": most, "rounds": values })
            }
        };
        let goal = self.goal.map(|goal| match goal {
            Goal::RatioAtMost(value) => json!({ "ratio_at_most": value }),
            Goal::RatioAtLeast(value) => json!({ "ratio_at_least": value }),
            Goal::AtMost(value) => json!({ "at_most": value }),
        });
        json!({
            "figure": self.figure, "what": self.label, "unit": self.unit.name(), "beside": self.beside_what,
            "ours": summary(&self.ours), "reference": summary(&self.beside), "ratio": summary(&self.ratios()),
            "goal": goal, "informational": self.goal.is_none() || !self.binding, "met": self.met(),
        })
    }
}

/// The machine and the time of the measurement.
#[derive(Debug, Clone)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub server: String,
    pub date: String,
}

impl Machine {
    /// The machine in one line.
    pub fn title(&self) -> String {
        let Self {
            cores,
            processor,
            server,
            date,
        } = self;
        format!("{cores} cores ({processor}), PostgreSQL {server}, fsync on, {date}")
    }
}

/// All measurements.
pub struct Report {
    pub machine: Machine,
    pub quick: bool,
    pub rows: Vec<Row>,
    /// The failed figures with their errors.
    pub failures: Vec<(&'static str, String)>,
}

const HEADER: [&str; 6] = [
    "figure",
    "ours",
    "beside",
    "ratio (min–max)",
    "goal",
    "met?",
];

impl Report {
    /// The table.
    pub fn table(&self) -> String {
        let mut text = format!("agent-sync, measured: {}\n", self.machine.title());
        if self.quick {
            text.push_str("quick: too few rounds to mean anything\n");
        }
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(HEADER);
        table.add_rows(self.rows.iter().map(cells));
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if index == 1 || index == 2 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut lines = table.lines();
        let header = lines.next().unwrap_or_default();
        text.push_str(&format!("\n{}\n", header.trim_end()));
        let mut heading = ("", "");
        for (row, line) in self.rows.iter().zip(lines) {
            if (row.figure, row.beside_what) != heading {
                heading = (row.figure, row.beside_what);
                let beside = if row.beside_what.is_empty() {
                    String::new()
                } else {
                    format!(", beside {}", row.beside_what)
                };
                text.push_str(&format!("{}{beside}\n", row.figure));
            }
            text.push_str(&format!("{}\n", line.trim_end()));
        }
        let binding = self
            .rows
            .iter()
            .filter(|row| row.binding && row.goal.is_some());
        let met = binding
            .clone()
            .filter(|row| row.met() == Some(true))
            .count();
        text.push_str(&format!(
            "\n{met} of {} goals met. A goal in brackets is another row's, shown for comparison.\n",
            binding.count()
        ));
        for (figure, error) in &self.failures {
            text.push_str(&format!("{figure} FAILED: {error}\n"));
        }
        text
    }

    /// The report as JSON, with every round.
    pub fn json(&self) -> Value {
        let Machine {
            cores,
            processor,
            server,
            date,
        } = &self.machine;
        json!({
            "machine": { "cores": cores, "processor": processor, "postgresql": server }, "date": date, "quick": self.quick,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "failures": self.failures.iter().map(|(figure, error)| json!({ "figure": figure, "error": error })).collect::<Vec<_>>(),
        })
    }
}

fn cells(row: &Row) -> [String; 6] {
    let value = |values: &[f64]| {
        if values.is_empty() {
            String::new()
        } else {
            format!("{} {}", digits(median(values)), row.unit.name())
        }
    };
    let ratios = row.ratios();
    let ratio = if ratios.is_empty() {
        let (least, most) = spread(&row.ours);
        if row.ours.len() > 1 {
            format!("({}–{})", digits(least), digits(most))
        } else {
            String::new()
        }
    } else {
        let (least, most) = spread(&ratios);
        format!(
            "{:<5} ({}–{})",
            digits(median(&ratios)),
            digits(least),
            digits(most)
        )
    };
    let goal = row.goal.map_or_else(String::new, |goal| {
        let text = goal_text(goal, row.unit);
        if row.binding {
            text
        } else {
            format!("({text})")
        }
    });
    let met = match row.met() {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    };
    let met = if row.binding || met.is_empty() {
        met.to_owned()
    } else {
        format!("({met})")
    };
    let label = format!("  {}", row.label);
    let (ours, beside) = (value(&row.ours), value(&row.beside));
    [label, ours, beside, ratio, goal, met]
}

/// The short text of a goal.
pub fn goal_text(goal: Goal, unit: Unit) -> String {
    match goal {
        Goal::RatioAtMost(most) => format!("≤ {most}"),
        Goal::RatioAtLeast(least) => format!("≥ {least}"),
        Goal::AtMost(most) => format!("≤ {most} {}", unit.name()),
    }
}

/// Three significant digits, with commas from a thousand on.
pub fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        ..0.1 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let plain = format!("{value:.decimals$}");
    with_commas(&plain)
}

/// A number with commas.
pub fn with_commas(plain: &str) -> String {
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}
