//! The command line of the benchmarks.

use clap::{Parser, ValueEnum as _};

use crate::figures::Figure;

/// Measures agent-sync beside its baselines, on a throwaway `PostgreSQL` with durable writes.
#[derive(Debug, Clone, Parser)]
#[command(name = "figures")]
pub struct Args {
    /// Small tables and few rounds: proves in less than a minute that every figure works, without a
    /// meaningful measurement
    #[arg(long)]
    pub quick: bool,
    /// Only these figures, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<Figure>,
    /// The number of rounds, instead of the default of each figure
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..1000))]
    pub rounds: Option<usize>,
    /// List the figures
    #[arg(long)]
    pub list: bool,
    /// The argument that cargo passes to every benchmark.
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
