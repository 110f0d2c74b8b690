//! The arguments of `install` and `uninstall`.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::Databases;

/// The arguments of `install`.
#[derive(Debug, Args)]
pub struct Install {
    /// The databases to install into.
    #[command(flatten)]
    pub databases: Databases,
    /// Print the SQL for a migration tool or an SQL editor instead of running it
    #[arg(long)]
    pub print: bool,
    /// Grant this role exactly what the daemon needs; create it without a password if it does not
    /// exist
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub role: Option<String>,
    /// Grant this role what `status` and `doctor` read, and nothing that writes; create it without
    /// a password if it does not exist
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub monitor: Option<String>,
    /// Serve the tables of the settings in place of those that the install was made for
    #[arg(long = "move")]
    pub moves: bool,
    /// Do not ask, where --move leaves tables with changes that are not in sync
    #[arg(long, requires = "moves")]
    pub yes: bool,
}

/// The arguments of `uninstall`.
#[derive(Debug, Args)]
pub struct Uninstall {
    /// Only this database; may be repeated [default: the database of the settings, if there is one
    /// alone]
    #[arg(long = "database", value_name = "NAME")]
    pub names: Vec<String>,
    /// Uninstall from every database of the settings
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// Print the SQL for a migration tool or an SQL editor instead of running it
    #[arg(long)]
    pub print: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
