//! The plot: the ratio of each figure with a goal, as a bar on a logarithmic axis beside its goal.
//!
//! The SVG is written directly: a bar, a whisker and a mark for each row need no plotting crate.
//! The colours are readable on white and on dark backgrounds.

use super::report::{Goal, Report, Row, digits, goal_text};
use super::stats::{median, spread};

const WIDTH: f64 = 960.0;
/// The start and the end of the axis.
const AXIS: (f64, f64) = (400.0, 740.0);
const LINE: f64 = 24.0;
const TOP: f64 = 84.0;

const STYLE: &str = "\
    text { font: 12px system-ui, sans-serif; fill: #57606a }
    .title { font-size: 15px; font-weight: 600 } .small { font-size: 11px }
    .right { text-anchor: end } .middle { text-anchor: middle }
    .met { fill: #2da44e } .missed { fill: #d4762c }
    .grid { stroke: #8c959f; stroke-opacity: .3 } .one { stroke: #8c959f; stroke-width: 1.5 }
    .goal { stroke: #8250df; stroke-width: 3 } .spread { stroke: #57606a; stroke-width: 1.5 }
    @media (prefers-color-scheme: dark)
      { text { fill: #adbac7 } .goal { stroke: #b083f0 } .spread { stroke: #adbac7 } }";

/// A drawn row: the ratio in the form of its goal, its spread, and the goal on the same axis.
struct Bar<'a> {
    row: &'a Row,
    ratio: f64,
    spread: (f64, f64),
    goal: f64,
    text: String,
}

impl<'a> Bar<'a> {
    /// The bar of a row; a row whose goal is a value has its ratio to that goal.
    fn of(row: &'a Row) -> Option<Self> {
        let goal = row.goal.filter(|_| row.binding)?;
        let (ratios, mark) = match goal {
            Goal::RatioAtMost(goal) | Goal::RatioAtLeast(goal) => (row.ratios(), goal),
            Goal::AtMost(most) => (row.ours.iter().map(|value| value / most).collect(), 1.0),
        };
        let ratio = median(&ratios);
        let shown = if let Goal::AtMost(_) = goal {
            median(&row.ours)
        } else {
            ratio
        };
        let text = format!("{} (goal {})", digits(shown), goal_text(goal, row.unit));
        ratio.is_finite().then(|| Self {
            row,
            ratio,
            spread: spread(&ratios),
            goal: mark,
            text,
        })
    }
}

/// The plot as SVG.
pub fn svg(report: &Report) -> String {
    let bars: Vec<Bar> = report.rows.iter().filter_map(Bar::of).collect();
    let everything = bars
        .iter()
        .flat_map(|bar| [bar.ratio, bar.goal, bar.spread.0, bar.spread.1, 0.5, 2.0]);
    let (least, most) = spread(&everything.filter(|value| *value > 0.0).collect::<Vec<_>>());
    let (from, to) = (
        least.max(0.01).log10() - 0.05,
        most.min(1000.0).log10() + 0.05,
    );
    let x = |value: f64| {
        let share = (value.max(0.001).log10() - from) / (to - from);
        AXIS.0 + share.clamp(0.0, 1.0) * (AXIS.1 - AXIS.0)
    };
    let bottom = TOP + LINE * bars.len() as f64;
    let height = bottom + 60.0;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
        width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>agent-sync beside its floors \
        and rivals</title>\n<style>\n{STYLE}\n</style>\n"
    );
    text(
        &mut svg,
        16.0,
        28.0,
        "title",
        "agent-sync beside its floors and rivals",
    );
    let quick = if report.quick {
        "quick: too few rounds to mean anything; "
    } else {
        ""
    };
    text(
        &mut svg,
        16.0,
        48.0,
        "small",
        &format!("{quick}{}", report.machine.title()),
    );
    for tick in [
        0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0,
        1000.0,
    ] {
        if f64::log10(tick) < from || f64::log10(tick) > to {
            continue;
        }
        let (at, class) = (
            x(tick),
            if (tick - 1.0).abs() < 1e-9 {
                "one"
            } else {
                "grid"
            },
        );
        svg.push_str(&format!(
            "<line class=\"{class}\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" \
            y2=\"{bottom:.1}\"/>\n"
        ));
        text(
            &mut svg,
            at,
            bottom + 16.0,
            "small middle",
            &format!("{tick}×"),
        );
    }
    let mut figure = "";
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + LINE * index as f64;
        let middle = y + LINE / 2.0;
        if bar.row.figure != figure {
            figure = bar.row.figure;
            text(&mut svg, 16.0, middle + 4.0, "small", figure);
        }
        text(
            &mut svg,
            AXIS.0 - 12.0,
            middle + 4.0,
            "right",
            &bar.row.label,
        );
        let (left, right) = (x(bar.ratio).min(x(1.0)), x(bar.ratio).max(x(1.0)));
        let class = if bar.row.met() == Some(true) {
            "met"
        } else {
            "missed"
        };
        svg.push_str(&format!(
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
            rx=\"1\"/>\n",
            y + 6.0,
            (right - left).max(2.0),
            LINE - 12.0
        ));
        svg.push_str(&format!(
            "<line class=\"spread\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" \
            y2=\"{middle:.1}\"/>\n",
            x(bar.spread.0),
            x(bar.spread.1)
        ));
        let goal = x(bar.goal);
        svg.push_str(&format!(
            "<line class=\"goal\" x1=\"{goal:.1}\" x2=\"{goal:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\n",
            y + 3.0,
            y + LINE - 3.0
        ));
        text(&mut svg, AXIS.1 + 12.0, middle + 4.0, "small", &bar.text);
    }
    let legend = "Bar: median of the rounds' ratios, from 1× (equal to what stands beside it, or, \
        where the goal has a unit, to the goal). Line: least to greatest. Violet: the goal. Green: \
        met.";
    text(&mut svg, 16.0, bottom + 44.0, "small", legend);
    svg.push_str("</svg>\n");
    svg
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let safe = text.replace('&', "&amp;").replace('<', "&lt;");
    svg.push_str(&format!(
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{safe}</text>\n"
    ));
}
