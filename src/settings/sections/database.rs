//! The sections of one database, `[databases.NAME]`: its connection, its install and its two
//! tables.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::settings::columns::{AgentsColumns, ConfigurationsColumns};
use crate::settings::database::Access;
use crate::settings::duration;
use crate::settings::install_schema::InstallSchema;
use crate::settings::schema::DefaultValue::{Integer, Text, Unset, UnsetList};
use crate::settings::schema::{Key, key_table};
use crate::settings::value_type::{ValueType, duration, integer};
use crate::settings::words::Tls;

/// The keys of the connection string of a database. No field holds them: `connection` reads the
/// string, and keeps the parts without secrets.
pub(in crate::settings) const CONNECTION_STRING: &[Key] = key_table! {
    "databases.*" {
        /// The address of the database, as a URL or as key=value pairs. Special characters in user
        /// and password are percent-encoded in a URL. Either url or url_file is needed; what
        /// it lacks, PG* variables and ~/.pgpass can add (libpq.environment).
        url = ValueType::Url, Unset("postgres://agent_sync@db.example.com:5432/platform");
        /// A file with the URL, such as a Docker secret. A relative path is relative to the
        /// settings file; where systemd has loaded a credential secrets_platform.url, it is used
        /// for "./secrets/platform.url". The file is read again before each connection, so a
        /// changed URL needs neither a reload nor a restart.
        url_file = ValueType::SecretFile, Unset("/run/secrets/platform_url");
    }
};

/// The modes of `tls`, from the weakest to the strongest.
pub(in crate::settings) const TLS_MODES: &[&str] =
    &["disable", "require", "verify-ca", "verify-full"];

section! {
    /// A database under `[databases.NAME]`.
    ///
    /// The password stays inside the configuration of the driver, which neither prints it nor hands
    /// it out; the connection string is kept only where a service file can change its meaning. Two
    /// databases are equal if a connection to one serves as a connection to the other: a reload
    /// compares them. A password counts if it stands in the settings. A password from a file does
    /// not count: the next connection reads the file, and an open session needs no password.
    Database = "databases.*" {
        /// A file with the password; it takes precedence over a password in the URL. The file
        /// is read again before each connection, so a changed password needs neither a reload nor a
        /// restart.
        password_file: Option<PathBuf> =
            ValueType::SecretFile, Unset("/run/secrets/platform_password");
        /// A program that prints the password, such as a token of a cloud, and its arguments. It is
        /// started without a shell for each connection. It has 10 s, then it is killed; its output
        /// has at most 64 KiB, and loses one line feed at its end. Its password takes precedence
        /// over one in the URL. It goes without password_file.
        password_command: Option<Vec<String>> =
            ValueType::Command, UnsetList(&["/usr/local/bin/database-token", "platform"]);
        /// The encryption of the connection: "disable"; "require" (encrypted, and any server that
        /// answers is trusted); "verify-ca" (the certificate must be signed by a known authority);
        /// "verify-full" (and be made out to the host). Not set: the URL's sslmode, else "disable"
        /// for Unix sockets and loopback addresses without a tls_root_cert, else "verify-full". A
        /// server of another host that is not verified gets no password in the clear and none as an
        /// MD5 hash; "verify-ca" verifies it with a tls_root_cert alone.
        tls: Tls = ValueType::OneOf(TLS_MODES), Unset("verify-full");
        /// The authorities to trust, as a PEM file. Not set: the URL's sslrootcert, else those of
        /// the operating system.
        tls_root_cert: Option<PathBuf> = ValueType::Path, Unset("/etc/agent-sync/root.crt");
        /// The certificate of the client, for a server that asks for one, as a PEM file: the
        /// certificate first, then those of the authorities in between. It needs tls_key. In the
        /// URL: sslcert. Both files are read again before each connection, so a renewed certificate
        /// needs neither a reload nor a restart.
        tls_cert: Option<PathBuf> = ValueType::Path, Unset("/etc/agent-sync/client.crt");
        /// The private key of tls_cert, as a PEM file without a passphrase. As in libpq, its mode
        /// is at most 0600, or 0640 if root owns it. In the URL: sslkey.
        tls_key: Option<PathBuf> = ValueType::SecretFile, Unset("/etc/agent-sync/client.key");
        /// The time limit of an attempt to connect to one address. In the URL: connect_timeout, in
        /// seconds.
        #[serde(with = "duration")]
        connect_timeout: Duration = duration("100ms", "5m"), Text("10s");
        /// The longest time that sent data may stay unacknowledged; after it the connection counts
        /// as lost. In the URL: tcp_user_timeout, in milliseconds.
        #[serde(with = "duration")]
        tcp_user_timeout: Duration = duration("1s", "10m"), Text("15s");
        /// The silence of a connection after which it is probed. In the URL: keepalives_idle, in
        /// seconds.
        #[serde(with = "duration")]
        keepalives_idle: Duration = duration("1s", "2h"), Text("5s");
        /// The pause between probes. In the URL: keepalives_interval, in seconds.
        #[serde(with = "duration")]
        keepalives_interval: Duration = duration("1s", "1h"), Text("3s");
        /// The number of unanswered probes after which the connection counts as lost. In the URL:
        /// keepalives_count.
        keepalives_count: u32 = integer(1, 100), Integer(3);
    }
    and {
        /// The name in settings, logs and metrics.
        #[serde(skip)]
        pub name: String,
        /// The install.
        pub install: InstallSettings,
        /// The table that people edit.
        pub agents: AgentsTable,
        /// The table that the runtime reads.
        pub configurations: ConfigurationsTable,
        #[serde(skip)]
        pub(in crate::settings) access: Access,
    }
}

section! {
    /// The install in the database.
    InstallSettings = "databases.*.install" {
        /// The schema of the install, which also names its channel: NOTIFY agent_sync. Several
        /// pairs of tables in one database need an install each, so each needs a schema of its own,
        /// and an entry of its own with the same URL.
        schema: InstallSchema = ValueType::InstallSchema, Text("agent_sync");
    }
}

section! {
    /// The table that people edit.
    AgentsTable = "databases.*.agents" {
        /// The schema of the table that people edit.
        schema: String = ValueType::Identifier, Text("public");
        /// The table that people edit.
        table: String = ValueType::Identifier, Text("agents");
    }
    and {
        /// The names of its columns.
        pub columns: AgentsColumns,
    }
}

section! {
    /// The table that the runtime reads.
    ConfigurationsTable = "databases.*.configurations" {
        /// The schema of the table that the runtime reads.
        schema: String = ValueType::Identifier, Text("public");
        /// The table that the runtime reads.
        table: String = ValueType::Identifier, Text("agent_configurations");
    }
    and {
        /// The names of its columns.
        pub columns: ConfigurationsColumns,
    }
}
