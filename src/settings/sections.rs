//! The sections of the settings. Each setting is declared in one place: its field, the values that
//! it takes, its default and its documentation. That is here, for a database in
//! `sections/database.rs`, and for the names of the columns of the two tables in
//! `settings/columns.rs`. Messages, remedies and checks in other files name settings in their text.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::duration;
use super::schema::DefaultValue::{Bool, Integer, Text, Unset};
use super::schema::{Key, key_table};
use super::value_type::{self, ValueType, duration, integer};
use super::words::{LogFormat, Repair};

/// Declares a section: the type that holds its values, and the description of its keys.
///
/// A setting has the form `field: type = value type, default;` below its documentation, which is a
/// paragraph of `docs/settings.md` as well. Fields behind `and` are no keys.
macro_rules! section {
    (
        $(#[$on_section:meta])*
        $section:ident = $path:literal {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)+)])?
                $field:ident: $type:ty = $value_type:expr, $default:expr;
            )+
        }
        $(and { $( $(#[$on_other:meta])* $visibility:vis $other:ident: $other_type:ty, )+ })?
    ) => {
        $(#[$on_section])*
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(clippy::doc_markdown, reason = "the sample file has the same text, without marks")]
        pub struct $section {
            $( $(#[doc = $doc])+ $(#[serde($($serde)+)])? pub $field: $type, )+
            $($( $(#[$on_other])* $visibility $other: $other_type, )+)?
        }

        impl $section {
            pub(in crate::settings) const KEYS: &[Key] = key_table! {
                $path { $( $(#[doc = $doc])+ $field = $value_type, $default; )+ }
            };
        }
    };
}

mod database;

pub use database::{AgentsTable, ConfigurationsTable, Database, InstallSettings};
pub(super) use database::{CONNECTION_STRING, TLS_MODES};

section! {
    /// The log.
    Log = "log" {
        /// The form of a log line: "pretty" for people, "json" for machines, "auto" for pretty on a
        /// terminal and in systemd's journal, and JSON elsewhere. In the journal, each line has its
        /// priority.
        format: LogFormat = ValueType::OneOf(&["auto", "pretty", "json"]), Text("auto");
        /// The least severe level that is logged (off, error, warn, info, debug, trace), or a list
        /// by module such as "info,agent_sync=debug". The variable RUST_LOG sets it as well.
        level: String = ValueType::LogLevel, Text("info");
    }
}

section! {
    /// The rules of the mapping.
    #[derive(Default)]
    Rules = "rules" {
        /// The rules of the mapping: for each provider, the target field of each voice setting. Not
        /// set: the rules built into the program.
        file: Option<PathBuf> = ValueType::Path, Unset("/etc/agent-sync/providers.toml");
    }
}

section! {
    /// The triggers.
    #[derive(Copy)]
    Capture = "capture" {
        /// Whether the triggers wake the daemon with NOTIFY. Set it to false where prepared
        /// transactions (two-phase commit) are in use: the daemon then wakes every
        /// sync.poll_interval.
        notify: bool = ValueType::Bool, Bool(true);
        /// Whether a configuration that is created after its agent, or moved to another agent, is
        /// synced at once. With false, its agent has to be saved or requested again, unless the
        /// agent has a problem, which is tried again. The audit reports such a configuration as
        /// edited, and syncs it with audit.repair = "reconcile" alone.
        configurations: bool = ValueType::Bool, Bool(true);
    }
}

section! {
    /// How changes are applied.
    #[derive(Copy)]
    SyncSettings = "sync" {
        /// The most rows of the outbox that one transaction takes; an agent can have several. It
        /// bounds how long row locks are held. A budget in bytes bounds the memory.
        batch_size: u32 = integer(1, 10_000), Integer(500);
        /// The interval of the sweep, which checks the server, the install, the triggers and the
        /// problems, and scans the outbox, also without a notification.
        #[serde(with = "duration")]
        sweep_interval: Duration = duration("1s", "1h"), Text("30s");
        /// The interval at which a sleeping daemon wakes where capture.notify is false, while the
        /// notification queue of the server is half full, or while the daemon does not listen
        /// because a notification has ended its connection.
        #[serde(with = "duration")]
        poll_interval: Duration = duration("10ms", "1m"), Text("1s");
        /// The interval at which an idle connection is probed with an empty query. A dead
        /// connection is noticed within this and sync.probe_timeout. Raise it, and
        /// sync.sweep_interval with it, for a serverless database, which such queries keep awake.
        #[serde(with = "duration")]
        probe_interval: Duration = duration("10ms", "1h"), Text("5s");
        /// The longest wait for the answer to a probe; after it the connection counts as lost.
        #[serde(with = "duration")]
        probe_timeout: Duration = duration("10ms", "1m"), Text("5s");
        /// The longest wait of a statement for a lock of another session, such as on a table or a
        /// unique value; then the agent is tried again later. A batch does not wait for a locked
        /// configuration: the agent is tried again after pauses of at most this, and at times
        /// alone, in the queue of the server. The wait of a statement is at most half the server's
        /// deadlock_timeout, as that is when the daemon connects, so that a deadlock ends a
        /// statement of the daemon, and not a save. It must be shorter than sync.statement_timeout.
        #[serde(with = "duration")]
        lock_timeout: Duration = duration("1ms", "1m"), Text("500ms");
        /// The time limit of one statement of the daemon.
        #[serde(with = "duration")]
        statement_timeout: Duration = duration("100ms", "1h"), Text("30s");
    }
}

section! {
    /// The audit.
    #[derive(Copy)]
    Audit = "audit" {
        /// The interval at which the daemon that leads compares every agent with its
        /// configurations, whatever the triggers have noted. "off" (or 0) switches the audit off;
        /// after a change of the rules the daemon compares all the same.
        #[serde(deserialize_with = "duration::deserialize_interval")]
        interval: Option<Duration> = ValueType::Interval { min: "1s", max: "720h" }, Text("1h");
        /// What an audit does about a configuration that somebody has edited since the last write
        /// of the daemon: "report" leaves it as it is, "reconcile" puts its agent into the outbox.
        /// The change of an agent that was never noticed is put there in either case.
        repair: Repair = ValueType::OneOf(&["report", "reconcile"]), Text("report");
    }
}

section! {
    /// The announcement of changed configurations.
    #[derive(Default)]
    Announce = "announce" {
        /// A channel to NOTIFY with the slug of every configuration that was written, so that
        /// runtimes can drop their cached copies; where tenants are set, with `tenant/slug`, and
        /// `%25` and `%2F` for `%` and `/` in the tenant. Not set: no notification is sent. None is
        /// sent either while the notification queue of the server is half full, as when a listener
        /// is stuck in a transaction; the configurations are still written. A slug of more than
        /// 7,999 bytes is never announced, because a notification has no more. A channel of an
        /// install, such as `agent_sync`, is refused.
        channel: Option<String> = ValueType::Identifier, Unset("configuration_changed");
    }
}

section! {
    /// The history of writes.
    #[derive(Copy)]
    History = "history" {
        /// Whether each write is kept in agent_sync.history, with the application_name and the role
        /// of the transaction that caused it. A drain of many agents then takes about a quarter
        /// longer. Run `agent-sync install` after a change of this setting.
        enabled: bool = ValueType::Bool, Bool(false);
        /// The time for which a write is kept there.
        #[serde(with = "duration")]
        keep: Duration = duration("1h", "87600h"), Text("720h");
        /// The most writes that are kept there, the latest ones.
        max_rows: u32 = integer(1, 100_000_000), Integer(10_000);
    }
}

section! {
    /// The confirmation of `agent-sync reconcile`.
    #[derive(Copy)]
    Reconcile = "reconcile" {
        /// The number of configurations above which `agent-sync reconcile` asks for confirmation;
        /// without a terminal, it then needs --yes.
        confirm_above: u32 = integer(0, 1_000_000_000), Integer(100);
    }
}

section! {
    /// The waits before a lost connection is opened again.
    #[derive(Copy)]
    Reconnect = "reconnect" {
        /// The first pause before an attempt to reconnect; each further pause is about twice as
        /// long, with jitter. After the loss of a healthy connection, one attempt comes almost at
        /// once.
        #[serde(with = "duration")]
        initial_delay: Duration = duration("10ms", "1m"), Text("100ms");
        /// The longest pause between two attempts to reconnect.
        #[serde(with = "duration")]
        max_delay: Duration = duration("100ms", "1h"), Text("10s");
    }
}

section! {
    /// How the daemon stops.
    #[derive(Copy)]
    Shutdown = "shutdown" {
        /// The time for a running batch to finish when the daemon stops, of which 4.25 s count at
        /// most; then the server rolls it back.
        #[serde(with = "duration")]
        grace_period: Duration = duration("100ms", "5s"), Text("4s");
    }
}

section! {
    /// How the daemon takes up changed settings.
    #[derive(Copy)]
    Reload = "reload" {
        /// Whether the daemon reads its settings again when one of their files changes, as it does
        /// at SIGHUP: the settings file, databases.d, and every file that a setting names. Files
        /// that are replaced by a rename or a swapped symbolic link are seen as well. Changes on a
        /// network file system may not be. A file with a mistake changes nothing.
        watch: bool = ValueType::Bool, Bool(false);
    }
}

section! {
    /// Where the daemon serves its state over HTTP (I8).
    Admin = "admin" {
        /// The address and port at which /livez, /readyz, /metrics, /status and the status page are
        /// served over HTTP. They show names of databases, their hosts and users, slugs and
        /// reasons, and no secret or value of a row. A loopback address also has a page for each
        /// agent, with its settings and without prompts and keys. With 0.0.0.0, limit the clients
        /// by a firewall or a NetworkPolicy. Port 0 takes a free port, which the log names. "off"
        /// serves nothing there.
        #[serde(deserialize_with = "listen")]
        listen: Option<SocketAddr> = ValueType::Listen, Text("127.0.0.1:9878");
        /// A Unix socket that serves the same to root and to the user of the daemon. `agent-sync
        /// probe` uses it: any program of the host can take the port, but none can create a socket
        /// in a directory of the daemon. Without the directory there is no socket; then `probe`
        /// uses admin.listen, and warns that the origin of the answer is unknown.
        socket: PathBuf = ValueType::Path, Text("/run/agent-sync/admin.sock");
    }
}

/// Reads an address from a value that the schema has accepted.
fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == value_type::OFF {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| de::Error::custom("not an address and a port"))
}

section! {
    /// The sources of connections that PostgreSQL's own tools share.
    #[derive(Copy)]
    Libpq = "libpq" {
        /// Whether connections take what they lack from the sources of PostgreSQL's own tools: the
        /// PG* variables, as PGHOST and PGPASSWORD, and ~/.pgpass. Settings come first, then the
        /// parameters of the URL, of the service file and of the variables, and the password file
        /// last. Where no database is configured, PGHOST, PGHOSTADDR, PGPORT, PGDATABASE, PGUSER or
        /// PGSERVICE defines one with the name default. A URL can name a service and a passfile in
        /// any case.
        environment: bool = ValueType::Bool, Bool(true);
    }
}
