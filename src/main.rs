//! The binary: what was typed → a verb → an exit code, and one way to report an error.

use std::process::ExitCode;

use agent_sync::cli::{Cli, Verb};
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
    let outcome = match cli.verb {
        Verb::Run(args) => verbs::run::run(config, &args),
        Verb::Install(args) => verbs::install::install(config, &args),
        Verb::Uninstall(args) => verbs::uninstall::uninstall(config, &args),
        Verb::Check(args) => verbs::check::check(config, &args),
        Verb::Reconcile(args) => verbs::reconcile::reconcile(config, &args),
        Verb::Status(args) => verbs::status::status(config, &args),
        Verb::Why(args) => verbs::why::why(config, &args),
        Verb::Doctor(args) => verbs::doctor::doctor(config, &args),
        Verb::Render => verbs::render::render(config),
        Verb::Config(args) => verbs::config::config(config, &args),
        Verb::Probe(args) => verbs::probe::probe(config, &args),
        Verb::Completions(args) => verbs::completions::completions(&args),
        Verb::Man => verbs::man::man(),
    };
    outcome
        .unwrap_or_else(|error| output::report(&error))
        .into()
}
