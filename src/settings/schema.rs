//! Every key that agent-sync knows: the single source of truth for names, kinds, defaults and
//! documentation.
//!
//! Unknown keys, ill-typed values, built-in defaults and the comments of `config/agent-sync.toml`
//! all come from this table. The typed settings are deserialized strictly from what it lets
//! through, so a key without a field, or a field without a key, fails the tests.

use super::kind::Kind;

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// The dotted path; `*` stands for the name of a database.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Default,
    /// One paragraph, as it stands in `config/agent-sync.toml`; a test keeps the two together, and
    /// `docs/settings.md`.
    pub(crate) doc: &'static str,
}

/// What a key holds when no source sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Default {
    Bool(bool),
    Integer(i64),
    Text(&'static str),
    /// Nothing; with an example of what it could be.
    Unset(&'static str),
}

impl Key {
    /// The value that an error shows as an example, in TOML.
    pub(crate) fn example(&self) -> String {
        match self.default {
            Default::Bool(value) => value.to_string(),
            Default::Integer(value) => value.to_string(),
            Default::Text(text) | Default::Unset(text) => format!("\"{text}\""),
        }
    }
}

/// What a path leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Key(&'static Key),
    Section,
    Unknown,
}

/// Says what a path leads to.
pub(crate) fn locate(path: &[String]) -> Place {
    let mut place = Place::Unknown;
    for key in KEYS {
        let mut parts = key.path.split('.');
        if path
            .iter()
            .all(|part| parts.next().is_some_and(|own| own == "*" || own == part))
        {
            if parts.next().is_none() {
                return Place::Key(key);
            }
            place = Place::Section;
        }
    }
    place
}

/// The names that can follow a path, in the order of the table; nothing below `databases`, where
/// any name can.
pub(crate) fn children(path: &[String]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS {
        let mut parts = key.path.split('.');
        if path
            .iter()
            .all(|part| parts.next().is_some_and(|own| own == "*" || own == part))
            && let Some(name) = parts.next()
            && name != "*"
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

const fn key(path: &'static str, kind: Kind, default: Default, doc: &'static str) -> Key {
    Key {
        path,
        kind,
        default,
        doc,
    }
}

const fn column(path: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Identifier,
        default: Default::Text(default),
        doc,
    }
}

/// What `tls` can be.
pub(crate) const TLS_MODES: &[&str] = &["disable", "require", "verify-ca", "verify-full"];

/// Every key, in the order in which they are printed.
pub(crate) const KEYS: &[Key] = &[
    key(
        "log.format",
        Kind::OneOf(&["auto", "pretty", "json"]),
        Default::Text("auto"),
        "The form of a log line: \"pretty\" for people, \"json\" for machines, \"auto\" for pretty \
        on a terminal and in systemd's journal, and JSON elsewhere. In the journal, each line has \
        its priority.",
    ),
    key(
        "log.level",
        Kind::LogLevel,
        Default::Text("info"),
        "The least severe level that is logged (off, error, warn, info, debug, trace), or a list \
        by module such as \"info,agent_sync=debug\".",
    ),
    key(
        "rules.file",
        Kind::Path,
        Default::Unset("/etc/agent-sync/providers.toml"),
        "The rules that say which voice setting goes where for which provider. Not set: the rules \
        built into the program.",
    ),
    key(
        "capture.notify",
        Kind::Bool,
        Default::Bool(true),
        "Whether the triggers wake the daemon with NOTIFY. Set it to false where prepared \
        transactions (two-phase commit) are in use: the daemon then polls, see sync.poll_interval.",
    ),
    key(
        "capture.configurations",
        Kind::Bool,
        Default::Bool(true),
        "Whether a configuration that is created after its agent, or moved to another agent, is \
        brought in sync at once.",
    ),
    key(
        "sync.batch_size",
        Kind::Integer {
            min: 1,
            max: 10_000,
        },
        Default::Integer(500),
        "How many agents one transaction takes at most. It bounds the daemon's memory and how long \
        row locks are held.",
    ),
    key(
        "sync.sweep_interval",
        Kind::Duration {
            min: "1s",
            max: "1h",
        },
        Default::Text("30s"),
        "How often the outbox, the triggers and the retries are looked at without being woken.",
    ),
    key(
        "sync.poll_interval",
        Kind::Duration {
            min: "10ms",
            max: "1m",
        },
        Default::Text("1s"),
        "How often the outbox is looked at when capture.notify is false.",
    ),
    key(
        "sync.probe_interval",
        Kind::Duration {
            min: "10ms",
            max: "1h",
        },
        Default::Text("5s"),
        "How often a connection on which nothing happens is probed with an empty query. A \
        connection that has died without a word is noticed after this and sync.probe_timeout at \
        most. Raise it, and sync.sweep_interval with it, for a serverless database that such \
        queries would keep awake.",
    ),
    key(
        "sync.probe_timeout",
        Kind::Duration {
            min: "10ms",
            max: "1m",
        },
        Default::Text("5s"),
        "How long the answer to a probe may take before the connection counts as lost.",
    ),
    key(
        "sync.lock_timeout",
        Kind::Duration {
            min: "1ms",
            max: "1m",
        },
        Default::Text("500ms"),
        "How long to wait for a row that somebody else has locked before its agent is put off. It \
        must be shorter than sync.statement_timeout.",
    ),
    key(
        "sync.statement_timeout",
        Kind::Duration {
            min: "100ms",
            max: "1h",
        },
        Default::Text("30s"),
        "How long one statement of the daemon may take.",
    ),
    key(
        "announce.channel",
        Kind::Identifier,
        Default::Unset("configuration_changed"),
        "A channel to NOTIFY with the slug of every configuration that was written, so that \
        runtimes can drop what they have cached. Not set: nobody is told. Nor is anybody while the \
        server's queue of notifications is half full, as it gets where a listener is stuck in a \
        transaction: the configurations are written all the same.",
    ),
    key(
        "history.enabled",
        Kind::Bool,
        Default::Bool(false),
        "Whether what is written is kept in agent_sync.history, with the application_name and the \
        role of the transaction that caused it. Costs a drain of many agents about a quarter. Run \
        `agent-sync install` after a change of it.",
    ),
    key(
        "history.keep",
        Kind::Duration {
            min: "1h",
            max: "87600h",
        },
        Default::Text("720h"),
        "How long a write is kept there.",
    ),
    key(
        "history.max_rows",
        Kind::Integer {
            min: 1,
            max: 100_000_000,
        },
        Default::Integer(10_000),
        "How many writes are kept there, the latest of them.",
    ),
    key(
        "reconcile.confirm_above",
        Kind::Integer {
            min: 0,
            max: 1_000_000_000,
        },
        Default::Integer(100),
        "Above how many configurations `agent-sync reconcile` asks before it touches them; without \
        a terminal to ask on, it wants --yes.",
    ),
    key(
        "reconnect.initial_delay",
        Kind::Duration {
            min: "10ms",
            max: "1m",
        },
        Default::Text("100ms"),
        "How long to wait before the first attempt to reconnect. Each further wait is about twice \
        as long, with jitter.",
    ),
    key(
        "reconnect.max_delay",
        Kind::Duration {
            min: "100ms",
            max: "1h",
        },
        Default::Text("30s"),
        "The longest wait between two attempts to reconnect.",
    ),
    key(
        "shutdown.grace_period",
        Kind::Duration {
            min: "100ms",
            max: "5s",
        },
        Default::Text("4s"),
        "How long a running batch may take to finish once the daemon is told to stop; then the \
        server undoes it.",
    ),
    key(
        "admin.listen",
        Kind::Listen,
        Default::Text("127.0.0.1:9878"),
        "The address and port at which /livez, /readyz, /metrics, /status and the status page are \
        served over HTTP, to whoever can reach it: names of databases, their hosts and users, \
        slugs and reasons; no secret and no value of a row. With 0.0.0.0, a firewall or a \
        NetworkPolicy has to say who that is. Port 0 takes one that is free, and the log says \
        which. \"off\" serves nothing there.",
    ),
    key(
        "admin.socket",
        Kind::Path,
        Default::Text("/run/agent-sync/admin.sock"),
        "A Unix socket at which the same is served, to root and to the user of the daemon. \
        `agent-sync probe` asks there: any program of the host can take the port, but none can \
        make a socket in a folder that is the daemon's own. Where the folder is not there, nor is \
        the socket; then `probe` asks at admin.listen, and says that it cannot tell whose answer \
        it is.",
    ),
    key(
        "databases.*.url",
        Kind::Url,
        Default::Unset("postgres://agent_sync@db.example.com:5432/platform"),
        "Where the database is, as a URL or as key=value pairs. Special characters in user and \
        password are percent-encoded in a URL. Either url or url_file is needed; PGPASSWORD, \
        ~/.pgpass and other PG* variables are not read.",
    ),
    key(
        "databases.*.url_file",
        Kind::SecretFile,
        Default::Unset("/run/secrets/platform_url"),
        "A file that holds the URL, such as a Docker secret. A relative path is relative to the \
        settings file; where systemd has loaded credentials, \"./secrets/platform.url\" is first \
        looked for among them, as secrets_platform.url. The file is read again before each \
        connection, so a changed URL needs neither a reload nor a restart.",
    ),
    key(
        "databases.*.password_file",
        Kind::SecretFile,
        Default::Unset("/run/secrets/platform_password"),
        "A file that holds the password; it takes precedence over a password in the URL. The file \
        is read again before each connection, so a changed password needs neither a reload nor a \
        restart.",
    ),
    key(
        "databases.*.tls",
        Kind::OneOf(TLS_MODES),
        Default::Unset("verify-full"),
        "How the connection is encrypted: \"disable\"; \"require\" (encrypted, but whoever answers \
        is believed); \"verify-ca\" (the certificate must be signed by a known authority); \
        \"verify-full\" (and be made out to the host). Not set: the URL's sslmode, else \
        \"disable\" for Unix sockets and loopback addresses without a tls_root_cert, else \
        \"verify-full\". A server of another host that is not verified gets no password in the \
        clear and none as an MD5 hash; \"verify-ca\" verifies it with a tls_root_cert alone.",
    ),
    key(
        "databases.*.tls_root_cert",
        Kind::Path,
        Default::Unset("/etc/agent-sync/root.crt"),
        "The authorities to trust, as a PEM file. Not set: the URL's sslrootcert, else those of \
        the operating system.",
    ),
    key(
        "databases.*.connect_timeout",
        Kind::Duration {
            min: "100ms",
            max: "5m",
        },
        Default::Text("10s"),
        "How long an attempt to connect to one address may take. In the URL: connect_timeout, in \
        seconds.",
    ),
    key(
        "databases.*.tcp_user_timeout",
        Kind::Duration {
            min: "1s",
            max: "10m",
        },
        Default::Text("15s"),
        "How long sent data may stay unacknowledged before the connection counts as lost. In the \
        URL: tcp_user_timeout, in milliseconds.",
    ),
    key(
        "databases.*.keepalives_idle",
        Kind::Duration {
            min: "1s",
            max: "2h",
        },
        Default::Text("5s"),
        "How long a connection may be silent before it is probed. In the URL: keepalives_idle, in \
        seconds.",
    ),
    key(
        "databases.*.keepalives_interval",
        Kind::Duration {
            min: "1s",
            max: "1h",
        },
        Default::Text("3s"),
        "How long to wait between probes. In the URL: keepalives_interval, in seconds.",
    ),
    key(
        "databases.*.keepalives_count",
        Kind::Integer { min: 1, max: 100 },
        Default::Integer(3),
        "How many probes may stay unanswered before the connection counts as lost. In the URL: \
        keepalives_count.",
    ),
    column(
        "databases.*.agents.schema",
        "public",
        "The schema of the table that people edit.",
    ),
    column(
        "databases.*.agents.table",
        "agents",
        "The table that people edit.",
    ),
    column(
        "databases.*.agents.columns.slug",
        "slug",
        "What an agent is known by; required.",
    ),
    column(
        "databases.*.agents.columns.name",
        "name",
        "The agent's name.",
    ),
    column(
        "databases.*.agents.columns.system_prompt",
        "system_prompt",
        "The agent's system prompt.",
    ),
    column(
        "databases.*.agents.columns.agent_image",
        "agent_image",
        "The agent's image.",
    ),
    column(
        "databases.*.agents.columns.voice_settings",
        "voice_settings",
        "The agent's voice settings; required.",
    ),
    column(
        "databases.*.configurations.schema",
        "public",
        "The schema of the table that the runtime reads.",
    ),
    column(
        "databases.*.configurations.table",
        "agent_configurations",
        "The table that the runtime reads.",
    ),
    column(
        "databases.*.configurations.columns.agent_slug",
        "agent_slug",
        "Which agent the row is for; required.",
    ),
    column(
        "databases.*.configurations.columns.agent_name",
        "agent_name",
        "Takes the agent's name.",
    ),
    column(
        "databases.*.configurations.columns.system_prompt",
        "system_prompt",
        "Takes the agent's system prompt.",
    ),
    column(
        "databases.*.configurations.columns.agent_image",
        "agent_image",
        "Takes the agent's image.",
    ),
    column(
        "databases.*.configurations.columns.voice_id",
        "voice_id",
        "Takes the voice of the voice settings.",
    ),
    column(
        "databases.*.configurations.columns.temperature",
        "temperature",
        "Takes the temperature of the voice settings.",
    ),
    column(
        "databases.*.configurations.columns.provider_config",
        "provider_config",
        "Takes the sections that the rules compute; required.",
    ),
    column(
        "databases.*.configurations.columns.voice_settings",
        "voice_settings",
        "Takes the voice settings.",
    ),
    column(
        "databases.*.configurations.columns.updated_at",
        "updated_at",
        "Takes the time of the change.",
    ),
    column(
        "databases.*.configurations.columns.last_updated",
        "last_updated",
        "Takes the time of the change.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::kind::Given;

    fn path(dotted: &str) -> Vec<String> {
        dotted.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_path_leads_to_a_key_a_section_or_nowhere() {
        assert!(
            matches!(locate(&path("sync.batch_size")), Place::Key(key) if key.path == "sync.batch_size")
        );
        assert!(matches!(
            locate(&path("databases.x.agents.columns.slug")),
            Place::Key(_)
        ));
        assert!(matches!(
            locate(&path("databases.x.agents")),
            Place::Section
        ));
        assert!(matches!(locate(&path("sync.batch_size.x")), Place::Unknown));
        assert!(matches!(locate(&path("sync.x")), Place::Unknown));
    }

    #[test]
    fn every_default_and_every_example_is_a_value_of_its_kind() {
        for key in KEYS {
            let given = match key.default {
                Default::Bool(value) => Given::Bool(value),
                Default::Integer(value) => Given::Integer(value),
                Default::Text(text) | Default::Unset(text) => Given::Text(text),
            };
            assert!(key.kind.check(given).is_ok(), "{}", key.path);
        }
    }

    #[test]
    fn no_two_keys_share_a_path() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(
                KEYS[..index].iter().all(|other| other.path != key.path),
                "{}",
                key.path
            );
        }
    }
}
