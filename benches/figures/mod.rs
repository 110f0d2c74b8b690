//! The figures, one file each, named as in `--only`.

mod bulk;
mod latency;
mod mapping;
mod saves;
mod writer_bulk;

use clap::ValueEnum;

use crate::support::lab::Lab;
use crate::support::report::Row;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Figure {
    Latency,
    Bulk,
    WriterBulk,
    Saves,
    Mapping,
}

impl Figure {
    /// Every figure, in the order of the table.
    pub const ALL: [Self; 5] = [Self::Latency, Self::Bulk, Self::WriterBulk, Self::Saves, Self::Mapping];

    /// Its name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Bulk => "bulk",
            Self::WriterBulk => "writer_bulk",
            Self::Saves => "saves",
            Self::Mapping => "mapping",
        }
    }

    /// What it is, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Self::Latency => "from the commit of an agent to its configuration, idle system",
            Self::Bulk => "agents changed by one statement, until all are in sync",
            Self::WriterBulk => "the writer's own time for that statement",
            Self::Saves => "single-row saves per second",
            Self::Mapping => "the mapping in process, per agent",
        }
    }

    /// Measures it.
    pub async fn measure(self, lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Latency => latency::measure(lab).await,
            Self::Bulk => bulk::measure(lab).await,
            Self::WriterBulk => writer_bulk::measure(lab).await,
            Self::Saves => saves::measure(lab).await,
            Self::Mapping => mapping::measure(lab).await,
        }
    }
}

/// The sides of a round in an order that changes with the round, so that no side always comes first.
fn in_turn(sides: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..sides).map(move |index| (index + round) % sides)
}

/// A whole number with commas.
fn count(number: impl Into<f64>) -> String {
    let number: f64 = number.into();
    crate::support::report::digits(number.max(100.0))
        .split_once('.')
        .map_or_else(|| crate::support::report::digits(number), |(whole, _)| whole.to_owned())
}
