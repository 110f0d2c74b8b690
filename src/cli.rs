//! The command line: the options of the program, and the list of commands with their help. The
//! modules below have the arguments of the commands. The commands and [`crate::settings`] interpret
//! them.

mod check;
mod databases;
mod global;
mod install;
mod pause;
mod printed;
mod probe;
mod reconcile;
mod state;
mod tenant;

use std::path::PathBuf;

use clap::{ColorChoice, Parser, Subcommand};

pub use check::Check;
pub use databases::{Databases, Reporting};
use global::GLOBAL;
pub use global::{Verbosity, colours};
pub use install::{Install, Uninstall};
pub use pause::Pause;
pub use printed::{Completions, Config, Manual, Rules};
pub use probe::{Probe, Question};
pub use reconcile::Reconcile;
pub use state::{Status, Wait, Why};
pub use tenant::OfTenant;

/// Keeps `agent_configurations` in sync with `agents`, in every configured PostgreSQL database.
#[derive(Debug, Parser)]
#[allow(clippy::doc_markdown, reason = "these comments are printed as help")]
#[command(
    name = "agent-sync",
    version = crate::VERSION,
    max_term_width = 100,
    after_help = EXIT_CODES,
    subcommand_value_name = "COMMAND"
)]
pub struct Cli {
    /// The settings file [default: $AGENT_SYNC_CONFIG, else /etc/agent-sync/agent-sync.toml if it
    /// exists]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub config: Option<PathBuf>,
    /// How much is written to standard error.
    #[command(flatten)]
    pub verbosity: Verbosity,
    /// Colours: auto for a terminal, unless NO_COLOR or CLICOLOR=0 is set; CLICOLOR_FORCE=1 forces
    /// them
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = GLOBAL)]
    pub color: ColorChoice,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0   done; for check: in sync
  2   check found drift, status or doctor found a fault, or wait a problem
  64  the command line, the settings or the input are invalid
  69  a database is unavailable
  1   anything else

Something is not in sync? `agent-sync status` shows the numbers with remedies,
and `agent-sync why SLUG` explains one agent.";

/// The commands. The header of `src/commands/mod.rs` says which file has each of them.
#[derive(Debug, Subcommand)]
#[allow(clippy::doc_markdown, reason = "these comments are printed as help")]
pub enum Command {
    /// Keep the databases in sync until SIGTERM or SIGINT
    #[command(after_help = "Examples:
  agent-sync run                        every database of the settings
  agent-sync run --database platform    one of them
  kill -HUP PID                         reload settings and rules")]
    Run(Databases),
    /// Install the capture in a database: schema agent_sync and its triggers
    #[command(after_help = "Examples:
  agent-sync install                           as the owner of the two tables
  agent-sync install --role agent_sync_daemon  and grant the role of the daemon
  agent-sync install --monitor agent_sync_mon  and grant a role that only reads
  agent-sync install --print > install.sql     for a migration or an SQL editor")]
    Install(Install),
    /// Remove everything that install created
    #[command(
        after_help = "It lists the databases and the losses (changes that are not in sync yet, roles
that an install created), and asks. Without a terminal, it needs --yes.

Examples:
  agent-sync uninstall --database platform
  agent-sync uninstall --print > uninstall.sql  for a migration or an SQL editor
  agent-sync uninstall --all --yes"
    )]
    Uninstall(Uninstall),
    /// Compare every configuration with its agent, without changes
    #[command(
        after_help = "Exits with 0 if all is in sync, and with 2 if something stays out of sync
until it is corrected: a configuration that differs or is missing, an agent
that is rejected, a SLUG or a TENANT that nothing has. A change in the outbox is
pending, and does not count while a daemon leads. Exits with 69 if a database
is unavailable. It compares rows alone, so it works before the install as well,
and also exits with 0 there. `agent-sync status` exits with 2 where agent-sync
is not installed; use it in a monitor.

Examples:
  agent-sync check                                 all agents of all databases
  agent-sync check reception billing               these two
  agent-sync check --unmapped                      and settings without a rule
  agent-sync check --rules new.toml                the effect of other rules
  agent-sync check --json | jq -r 'select(.verdict == \"drifted\").slug'"
    )]
    Check(Check),
    /// Sync configurations that differ from their agents
    #[command(
        after_help = "The slugs go through the outbox, as if their agents had been saved. The
leading daemon processes them, or this command if no daemon leads. It waits
for the end and reports failures. Above reconcile.confirm_above configurations
it asks first. A change of the rules can be applied to some agents first, with
--sample or --slugs-from.

Examples:
  agent-sync reconcile reception        one agent
  agent-sync reconcile --all --dry-run  only show the differences, like check
  agent-sync reconcile --all --yes      everything, without asking
  agent-sync reconcile --sample 10      ten agents of each database that differ
  agent-sync reconcile --slugs-from -   the slugs on standard input, one a line"
    )]
    Reconcile(Reconcile),
    /// Show the state of each database in one line, with remedies
    #[command(
        after_help = "It queries the databases and needs no daemon. NO PROBLEM counts the agents
without a pending change or a problem. Edits by hand and the effect of other
rules show with the next audit (audit.interval): `agent-sync check` compares
each agent now. MISS: agents without a configuration. REJ: agents that are
rejected, and slugs that several agents have (`ambiguous` in --json). FAIL:
agents that could not be brought in sync, for another reason.

STATE is one of:
  ok           a daemon leads, and nothing is pending
  busy         a daemon leads, and changes are pending
  paused       changes are noted and not applied, until `resume`
  no daemon    no daemon leads, so changes wait
  broken       the database has a fault, named below the table
  unreachable  there is no connection to the database
/readyz, /status and the metric agent_sync_state have the same words, as
each daemon sees it; a daemon that stands by says `standby`.

Exits with 2 where it shows a FAIL, and with 69 if a database is unreachable;
with --exit-zero, with 0 in both cases.

Examples:
  agent-sync status
  agent-sync status --watch
  agent-sync status --json | jq 'select(.outbox.oldest_seconds > 60)'"
    )]
    Status(Status),
    /// List the databases of the settings, and which daemon serves each
    #[command(
        after_help = "Exits with 69 if a database cannot be reached, and otherwise with 0.

Examples:
  agent-sync databases
  agent-sync databases --json | jq 'select(.leader == null).database'"
    )]
    Databases(Reporting),
    /// Explain one agent: as saved, as configured, and why it is not in sync
    #[command(after_help = "Examples:
  agent-sync why reception
  agent-sync why reception --database platform --json")]
    Why(Why),
    /// Examine each database, from the connection to a round trip through the daemon
    #[command(
        after_help = "It changes no agent and no configuration: the round trip uses a slug
without an agent, which the daemon drops. Run it with the settings of the
daemon, as its role. Exits with 2 on a fault, such as changes that have been
pending for a minute while no daemon leads, and with 69 if there is no
connection.

Examples:
  agent-sync doctor
  agent-sync doctor --json | jq '.checks[] | select(.level != \"pass\")'"
    )]
    Doctor(Reporting),
    /// Wait until every change that was saved before is applied
    #[command(after_help = "\
Exits with 0 if all of them are applied, 2 if some stand as problems or may have
been missed, and 69 if a database is unavailable or the time is over.

Examples:
  agent-sync wait                              after a migration, every agent
  agent-sync wait reception --timeout 30s      this agent")]
    Wait(Wait),
    /// Stop applying changes until `resume`; they are still noted
    #[command(
        after_help = "The pause is kept in the database. It holds for every daemon, also after a
restart. The command returns when no daemon writes any more. With --release,
daemons close their connections as well and look for the end of the pause every
10 seconds, so that the database can be dropped, copied or restored. status,
the log, /status and the metrics show the pause.

Examples:
  agent-sync pause --reason 'bulk import' --until 2h
  agent-sync pause --database eu --release"
    )]
    Pause(Pause),
    /// End a pause; the changes that were noted meanwhile are applied
    #[command(after_help = "Examples:
  agent-sync resume
  agent-sync resume --database eu")]
    Resume(Databases),
    /// Run the mapping on one agent from standard input, without a database
    #[command(after_help = "Example:
  echo '{\"agent\":{\"voice_settings\":{\"voice_id\":\"v\"}}}' | agent-sync render")]
    Render,
    /// Print the rules of the mapping: those in force, or those that agent-sync comes with
    #[command(after_help = "Examples:
  agent-sync rules                              the rules in force, as TOML
  agent-sync rules --extended > providers.toml  a start of your own rules file
  agent-sync rules --json | jq '.rules.sections[].providers[].name'")]
    Rules(Rules),
    /// Print the effective settings and the source of each
    #[command(after_help = "Examples:
  agent-sync config
  agent-sync config --json | jq '.\"sync.batch_size\"'
  agent-sync config --check && kill -HUP PID")]
    Config(Config),
    /// Ask the running daemon over HTTP whether it is live or ready
    #[command(
        after_help = "Exits with 0 for yes, 1 for no, and 69 without an answer. It uses the Unix
socket admin.socket, which belongs to the daemon. Without the socket it uses
the port admin.listen, and warns that another program may have answered.

Examples:
  agent-sync probe ready
  agent-sync probe live --listen 127.0.0.1:9878"
    )]
    Probe(Probe),
    /// Print the completions for a shell
    #[command(after_help = "Examples:
  agent-sync completions bash > /etc/bash_completion.d/agent-sync
  agent-sync completions zsh > /usr/share/zsh/site-functions/_agent-sync
  agent-sync completions fish > ~/.config/fish/completions/agent-sync.fish")]
    Completions(Completions),
    /// Print the manual page of the program, or of one command
    #[command(after_help = "Examples:
  agent-sync man | man -l -
  agent-sync man check | man -l -
  agent-sync man --into /usr/local/share/man/man1    every page")]
    Man(Manual),
}
