//! The binary: parses the command line, runs a command, reports its error and exits with its code.

use std::process::ExitCode;

use agent_sync::cli::{Cli, Command};
use agent_sync::exit::Exit;
use agent_sync::verbs::{self, output};
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            return output::report_command_line(&error, std::env::args_os()).into();
        }
        Err(error) => {
            let _ = error.print();
            return Exit::Done.into();
        }
    };
    let config = cli.config.as_deref();
    let outcome = match cli.command {
        Command::Run(args) => verbs::run::run(config, &args),
        Command::Install(args) => verbs::install::install(config, &args),
        Command::Uninstall(args) => verbs::uninstall::uninstall(config, &args),
        Command::Check(args) => verbs::check::check(config, &args),
        Command::Reconcile(args) => verbs::reconcile::reconcile(config, &args),
        Command::Status(args) => verbs::status::status(config, &args),
        Command::Why(args) => verbs::why::why(config, &args),
        Command::Doctor(args) => verbs::doctor::doctor(config, &args),
        Command::Render => verbs::render::render(config),
        Command::Config(args) => verbs::config::config(config, &args),
        Command::Probe(args) => verbs::probe::probe(config, &args),
        Command::Completions(args) => verbs::completions::completions(&args),
        Command::Man => verbs::man::man(),
    };
    outcome
        .unwrap_or_else(|error| output::report(&error))
        .into()
}
