//! The parameters of connection strings: those that settings decide, those that the driver reads,
//! and those of other programs, which are refused by name.

/// Parameters that settings decide: parameter, key of the database, and the unit to append.
pub(super) const OWN: &[(&str, &str, &str)] = &[
    ("sslmode", "tls", ""),
    ("sslrootcert", "tls_root_cert", ""),
    ("sslcert", "tls_cert", ""),
    ("sslkey", "tls_key", ""),
    ("connect_timeout", "connect_timeout", "s"),
    ("tcp_user_timeout", "tcp_user_timeout", "ms"),
    ("keepalives_idle", "keepalives_idle", "s"),
    ("keepalives_interval", "keepalives_interval", "s"),
    ("keepalives_count", "keepalives_count", ""),
    ("keepalives_retries", "keepalives_count", ""),
];

/// Parameters that `tokio_postgres` reads.
pub(super) const PASSED: &str = "user password dbname options sslnegotiation host \
    hostaddr port keepalives target_session_attrs channel_binding load_balance_hosts";

/// Parameters that secure a connection. Two different values are refused, because libpq takes the
/// last, which may be the weaker.
pub(super) const ONCE: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
    "sslnegotiation",
];

/// The remedy for a parameter that is not known.
pub(super) const UNKNOWN: &str = "take it out; where it is a part of the password, percent-encode \
    that (`@` is %40, `/` is %2F, `?` is %3F)";

/// The remedy for a value that a parameter cannot take.
pub(super) const VALUES: &str = "PostgreSQL's manual lists its values under Parameter Key Words";

const NAMES: &str = "agent-sync names its sessions itself, `agent-sync/VERSION DATABASE`";

/// Parameters of other tools that have no effect here: the name, the values that are accepted (any,
/// if there are none), and the reason.
pub(super) const HARMLESS: &[(&str, &[&str], &str)] = &[
    ("application_name", &[], NAMES),
    ("fallback_application_name", &[], NAMES),
    (
        "client_encoding",
        &["utf8", "utf-8", "unicode", "auto"],
        "agent-sync always uses UTF8",
    ),
    (
        "gssencmode",
        &["disable", "prefer"],
        "agent-sync does not use GSSAPI",
    ),
    ("sslcompression", &["0"], "agent-sync never compresses"),
    (
        "sslsni",
        &["1"],
        "agent-sync always sends the name of the server",
    ),
];

/// Settings of a session that agent-sync sets in each session, whatever `options` says.
pub(super) const SET_HERE: &[&str] = &[
    "client_encoding",
    "client_min_messages",
    "default_transaction_isolation",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "jit",
    "lock_timeout",
    "row_security",
    "statement_timeout",
    "transaction_timeout",
];

/// The placeholders of dashboards and manuals in the place of a password, in any letters.
pub(super) const PLACEHOLDERS: &[&str] = &[
    "[YOUR-PASSWORD]",
    "[YOUR_PASSWORD]",
    "[PASSWORD]",
    "<YOUR-PASSWORD>",
    "<YOUR_PASSWORD>",
    "<PASSWORD>",
    "{YOUR_PASSWORD}",
    "{PASSWORD}",
];

const SCHEMAS: &str =
    "take it out, and set agents.schema and configurations.schema of this database instead";
const ONE_CONNECTION: &str =
    "take it out: agent-sync has no pool, but one connection to each database";
const ENCRYPTION: &str = "take it out, and write sslmode=require (encrypted), sslmode=verify-full \
    (encrypted, with a verified certificate) or sslmode=disable instead";

/// Parameters of other programs that agent-sync does not use.
pub(super) const UNUSED: &str = "krbsrvname max_protocol_version min_protocol_version \
    prepareThreshold replication require_auth requirepeer socket_timeout ssl_max_protocol_version \
    ssl_min_protocol_version sslcrl sslsni statement_cache_size supa";

/// Parameters of other programs that occur in practice, each with its remedy.
pub(super) const FOREIGN: &[(&str, &str)] = &[
    (
        "ApplicationName",
        "take it out: agent-sync names its sessions itself",
    ),
    ("connection_limit", ONE_CONNECTION),
    ("currentSchema", SCHEMAS),
    (
        "pgbouncer",
        "take it out, and give the address of the server or of a pooler in session mode: \
        agent-sync needs LISTEN and locks in a session of its own",
    ),
    ("pool_timeout", ONE_CONNECTION),
    ("schema", SCHEMAS),
    ("search_path", SCHEMAS),
    ("ssl", ENCRYPTION),
    ("sslaccept", ENCRYPTION),
    (
        "sslpassword",
        "take it out, and decrypt the key: openssl pkey -in ENCRYPTED -out KEY, and chmod 0600 KEY",
    ),
    (
        "statement_timeout",
        "take it out, and set sync.statement_timeout instead",
    ),
    (
        "uselibpqcompat",
        "take it out: agent-sync reads sslmode as libpq does",
    ),
];
