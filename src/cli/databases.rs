//! The arguments that several commands share: the databases, and the form of the output.

use clap::Args;

/// The databases of a command.
#[derive(Debug, Args)]
pub struct Databases {
    /// Only this database; may be repeated [default: every database of the settings]
    #[arg(long = "database", value_name = "NAME")]
    pub names: Vec<String>,
}

/// The arguments of a reporting command.
#[derive(Debug, Args)]
pub struct Reporting {
    /// The databases.
    #[command(flatten)]
    pub databases: Databases,
    /// Print JSON, one object on each line
    #[arg(long)]
    pub json: bool,
}
