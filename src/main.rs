//! The binary: parses the command line, runs a command, reports its error and exits with its code.

use std::process::ExitCode;

use agent_sync::cli::{self, Cli, Command};
use agent_sync::commands::{self, output};
use agent_sync::exit::Exit;
use clap::Parser;

fn main() -> ExitCode {
    output::colour(cli::colours(std::env::args_os()));
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
    let verbosity = cli.verbosity;
    if verbosity.quiet > 0 {
        output::be_quiet();
    }
    let outcome = match cli.command {
        Command::Run(args) => commands::run::run(config, &args, verbosity),
        Command::Install(args) => commands::install::install(config, &args),
        Command::Uninstall(args) => commands::uninstall::uninstall(config, &args),
        Command::Check(args) => commands::check::check(config, &args, verbosity),
        Command::Reconcile(args) => commands::reconcile::reconcile(config, &args),
        Command::Databases(args) => commands::databases::databases(config, &args),
        Command::Status(args) => commands::status::status(config, &args),
        Command::Why(args) => commands::why::why(config, &args),
        Command::Wait(args) => commands::wait::wait(config, &args),
        Command::Pause(args) => commands::pause::pause(config, &args),
        Command::Resume(args) => commands::pause::resume(config, &args),
        Command::Doctor(args) => commands::doctor::doctor(config, &args),
        Command::Render => commands::render::render(config),
        Command::Rules(args) => commands::rules::rules(config, &args),
        Command::Config(args) => commands::config::config(config, &args),
        Command::Probe(args) => commands::probe::probe(config, &args),
        Command::Completions(args) => commands::completions::completions(&args),
        Command::Man(args) => commands::man::man(&args),
    };
    outcome
        .unwrap_or_else(|error| output::report(&error))
        .into()
}
