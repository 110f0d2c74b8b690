//! What was typed.

use clap::{Parser, ValueEnum as _};

use crate::figures::Figure;

/// Measures agent-sync beside its floors and rivals, on a throwaway `PostgreSQL` that keeps its
/// promises.
#[derive(Debug, Clone, Parser)]
#[command(name = "figures")]
pub struct Args {
    /// Small tables and few rounds: proves in less than a minute that every figure works, and
    /// measures nothing
    #[arg(long)]
    pub quick: bool,
    /// Only these figures, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<Figure>,
    /// How many rounds, instead of as many as each figure needs
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..1000))]
    pub rounds: Option<usize>,
    /// Say which figures there are
    #[arg(long)]
    pub list: bool,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// The figures to measure, in the order of the table.
    pub fn figures(&self) -> impl Iterator<Item = Figure> {
        Figure::value_variants()
            .iter()
            .copied()
            .filter(|figure| self.only.is_empty() || self.only.contains(figure))
    }
}
