//! The parameters of connection strings: those that settings decide, those that the driver reads,
//! and those of other programs, which are refused by name.

/// Parameters that settings decide: parameter, key of the database, and the unit to append.
pub(super) const OWN: &[(&str, &str, &str)] = &[
    ("sslmode", "tls", ""),
    ("sslrootcert", "tls_root_cert", ""),
    ("connect_timeout", "connect_timeout", "s"),
    ("tcp_user_timeout", "tcp_user_timeout", "ms"),
    ("keepalives_idle", "keepalives_idle", "s"),
    ("keepalives_interval", "keepalives_interval", "s"),
    ("keepalives_count", "keepalives_count", ""),
    ("keepalives_retries", "keepalives_count", ""),
];

/// Parameters that `tokio_postgres` reads.
pub(super) const PASSED: &[&str] = &[
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "keepalives",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// Parameters that secure a connection. Two different values are refused, because libpq takes the
/// last, which may be the weaker.
pub(super) const ONCE: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "channel_binding",
    "sslnegotiation",
];

const UNUSED: &str = "take it out: agent-sync does not use it";
const SCHEMAS: &str =
    "take it out, and set agents.schema and configurations.schema of this database instead";
const ONE_CONNECTION: &str =
    "take it out: agent-sync has no pool, but one connection to each database";
const ENCRYPTION: &str = "take it out, and write sslmode=require (encrypted), sslmode=verify-full \
    (encrypted, with a verified certificate) or sslmode=disable instead";

/// Parameters of other programs that occur in practice, each with its remedy.
pub(super) const FOREIGN: &[(&str, &str)] = &[
    ("ApplicationName", "write application_name instead"),
    ("client_encoding", UNUSED),
    ("connection_limit", ONE_CONNECTION),
    ("currentSchema", SCHEMAS),
    ("fallback_application_name", UNUSED),
    ("gssencmode", UNUSED),
    ("krbsrvname", UNUSED),
    ("max_protocol_version", UNUSED),
    ("min_protocol_version", UNUSED),
    ("passfile", UNUSED),
    (
        "pgbouncer",
        "take it out, and give the address of the server or of a pooler in session mode: \
        agent-sync needs LISTEN and locks in a session of its own",
    ),
    ("pool_timeout", ONE_CONNECTION),
    ("prepareThreshold", UNUSED),
    ("replication", UNUSED),
    ("require_auth", UNUSED),
    ("requirepeer", UNUSED),
    ("schema", SCHEMAS),
    ("search_path", SCHEMAS),
    ("service", UNUSED),
    ("socket_timeout", UNUSED),
    ("ssl", ENCRYPTION),
    ("ssl_max_protocol_version", UNUSED),
    ("ssl_min_protocol_version", UNUSED),
    ("sslaccept", ENCRYPTION),
    ("sslcert", UNUSED),
    ("sslcrl", UNUSED),
    ("sslkey", UNUSED),
    ("sslpassword", UNUSED),
    ("sslsni", UNUSED),
    ("statement_cache_size", UNUSED),
    (
        "statement_timeout",
        "take it out, and set sync.statement_timeout instead",
    ),
    ("supa", UNUSED),
    (
        "uselibpqcompat",
        "take it out: agent-sync reads sslmode as libpq does",
    ),
];
