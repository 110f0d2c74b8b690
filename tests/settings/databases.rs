//! The settings of a database: its secrets, its TLS mode, its URL, and the selection by name.

use std::path::Path;
use std::time::Duration;

use agent_sync::settings::{Database, Settings, Sources, Tls};
use tokio_postgres::config::SslMode;

use super::{URL, database, directory, load, load_in, source};

#[test]
fn secret_files_lose_one_line_feed_and_override_the_url() {
    let directory = directory(&[
        (
            "agent-sync.toml",
            "[databases.a]\nurl_file = \"./secrets/url\"\npassword_file = \"./secrets/password\"",
        ),
        (
            "secrets/url",
            "postgres://app:old@db.example.com/platform\r\n",
        ),
        ("secrets/password", " new \n\n"),
    ]);
    let loaded = load_in(&directory, &[]).unwrap();
    let database = &loaded.settings.databases["a"];
    assert_eq!(
        database.target(),
        "user app at db.example.com:5432, database platform"
    );
    assert_eq!(
        database.connect_config().get_password(),
        Some(&b" new \n"[..])
    );
    assert!(source(&loaded, "databases.a.url").starts_with("secret file /"));
    assert!(source(&loaded, "databases.a.password").ends_with("secrets/password"));
}

/// The TLS mode is the one of the settings, else of the URL, else a safe default.
#[test]
fn s12_tls_is_set_or_from_the_url_or_safe() {
    for (url, tls) in [
        ("postgres://db.example.com/x", Tls::VerifyFull),
        ("postgres://10.0.0.1/x", Tls::VerifyFull),
        ("host=localhost,db.example.com", Tls::VerifyFull),
        ("postgres://db.example.com/x?sslmode=require", Tls::Require),
        ("postgres://localhost/x", Tls::Disable),
        ("postgres://127.0.0.2/x", Tls::Disable),
        ("postgres://[::1]/x", Tls::Disable),
        ("host=/run/postgresql", Tls::Disable),
        ("postgres://localhost/x?sslmode=require", Tls::Require),
        ("postgres://db.example.com/x?sslmode=disable", Tls::Disable),
        (
            "postgres://db.example.com/x?sslmode=verify-ca",
            Tls::VerifyCa,
        ),
        ("host=db.example.com sslmode=verify-full", Tls::VerifyFull),
    ] {
        let database = database(url);
        assert_eq!(database.tls, tls, "{url}");
        let mode = if tls == Tls::Disable {
            SslMode::Disable
        } else {
            SslMode::Require
        };
        assert_eq!(database.connect_config().get_ssl_mode(), mode, "{url}");
    }

    let root = directory(&[("root.crt", "-----BEGIN CERTIFICATE-----")]);
    let root = root.path().join("root.crt").display().to_string();
    let variables = |url, tls| {
        [
            ("DATABASE_URL", url),
            ("AGENT_SYNC__DATABASES__DEFAULT__TLS_ROOT_CERT", &*root),
            tls,
        ]
    };
    for (url, tls, expected) in [
        (URL, "", Tls::VerifyFull),
        ("postgres://localhost/x", "", Tls::VerifyFull),
        (URL, "verify-ca", Tls::VerifyCa),
        (
            "postgres://db.example.com/x?sslmode=require",
            "verify-ca",
            Tls::VerifyCa,
        ),
    ] {
        let variables = variables(url, ("AGENT_SYNC__DATABASES__DEFAULT__TLS", tls));
        let loaded = load("", &variables).unwrap();
        assert_eq!(
            loaded.settings.databases["default"].tls, expected,
            "{url} {tls}"
        );
    }

    let loaded = load(
        "",
        &[(
            "DATABASE_URL",
            &format!("postgres://a@b/c?sslrootcert={root}"),
        )],
    )
    .unwrap();
    assert_eq!(loaded.settings.databases["default"].tls, Tls::VerifyFull);
    assert_eq!(
        source(&loaded, "databases.default.tls_root_cert"),
        "environment variable DATABASE_URL, sslrootcert"
    );
}

/// A server counts as verified by its name or by a private authority.
#[test]
fn s12_a_server_is_verified_by_name_or_own_authority() {
    let root = directory(&[("root.crt", "-----BEGIN CERTIFICATE-----")]);
    let root = root.path().join("root.crt").display().to_string();
    for (mode, root, verified) in [
        ("", "", true),
        ("verify-full", "", true),
        ("verify-ca", &*root, true),
        ("verify-ca", "", false),
        ("require", "", false),
        ("disable", "", false),
    ] {
        let variables = [
            ("DATABASE_URL", URL),
            ("AGENT_SYNC__DATABASES__DEFAULT__TLS", mode),
            ("AGENT_SYNC__DATABASES__DEFAULT__TLS_ROOT_CERT", root),
        ];
        let loaded = load("", &variables).unwrap();
        assert_eq!(
            loaded.settings.databases["default"].is_server_verified(),
            verified,
            "{mode} {root}"
        );
    }
}

#[test]
fn the_roots_of_the_system_are_asked_as_in_libpq() {
    for (url, tls) in [
        ("postgres://localhost/x?sslrootcert=system", ""),
        (
            "postgres://db.example.com/x?sslmode=verify-full&sslrootcert=system",
            "",
        ),
        (
            "postgres://db.example.com/x?sslrootcert=system",
            "verify-full",
        ),
        ("host=db.example.com sslrootcert=system", ""),
    ] {
        let variables = [
            ("DATABASE_URL", url),
            ("AGENT_SYNC__DATABASES__DEFAULT__TLS", tls),
        ];
        let loaded = load("", &variables).unwrap();
        let database = &loaded.settings.databases["default"];
        assert_eq!(
            (database.tls, &database.tls_root_cert),
            (Tls::VerifyFull, &None),
            "{url} {tls}"
        );
    }
}

/// Parameters of the URL override defaults and yield to settings.
#[test]
fn url_parameters_override_defaults_and_yield_to_settings() {
    let url = "postgres://a@b/c?connect_timeout=3&tcp_user_timeout=9000&keepalives_idle=4&keepalives_count=2";
    let loaded = load(
        "",
        &[
            ("DATABASE_URL", url),
            ("AGENT_SYNC__DATABASES__DEFAULT__KEEPALIVES_IDLE", "6s"),
        ],
    )
    .unwrap();
    let config = loaded.settings.databases["default"].connect_config();
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
    assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_secs(9)));
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(6));
    assert_eq!(
        config.get_keepalives_interval(),
        Some(Duration::from_secs(3))
    );
    assert_eq!(config.get_keepalives_retries(), Some(2));
    assert_eq!(config.get_application_name(), None);
    let source = source(&loaded, "databases.default.connect_timeout");
    assert_eq!(source, "environment variable DATABASE_URL, connect_timeout");
}

/// Parameters of other tools that change nothing here are accepted, each with a note, and `config`
/// prints the notes without any value.
#[test]
fn parameters_without_an_effect_are_noted() {
    let url = "postgres://app:hunter2@db/x?gssencmode=disable&client_encoding=UTF8&\
        fallback_application_name=hunter2&channel_binding=prefer&\
        options=-c%20statement_timeout%3Dhunter2%20-c%20work_mem%3D1MB";
    let loaded = load("", &[("DATABASE_URL", url)]).unwrap();
    let place = "databases.default.url (environment variable DATABASE_URL)";
    assert_eq!(
        loaded.notes,
        [
            "`gssencmode` has no effect: agent-sync does not use GSSAPI",
            "`client_encoding` has no effect: agent-sync always uses UTF8",
            "`fallback_application_name` has no effect: agent-sync names its sessions itself, \
            `agent-sync/VERSION DATABASE`",
            "`statement_timeout` in `options` has no effect: agent-sync sets it in each session",
        ]
        .map(|note| format!("{place}: {note}"))
    );
    let config = loaded.settings.databases["default"].connect_config();
    assert_eq!(
        config.get_options(),
        Some("-c statement_timeout=hunter2 -c work_mem=1MB")
    );
    let output = super::config::run(&[], &[("DATABASE_URL", url)]);
    let text = String::from_utf8(output.stdout).unwrap();
    let note = format!("# note: {place}: `gssencmode` has no effect");
    assert!(text.contains(&note) && !text.contains("hunter2"), "{text}");
}

#[test]
fn databases_differ_when_only_their_passwords_do() {
    assert_eq!(database(URL), database(URL));
    assert_ne!(
        database(URL),
        database("postgres://app:other@db.example.com/platform")
    );
}

/// A changed secret in a file keeps the database the same; any other change makes another one.
#[test]
fn a_changed_secret_is_the_same_database() {
    let directory = directory(&[
        (
            "agent-sync.toml",
            "[databases.a]\nurl_file = \"./url\"\n[databases.b]\nurl_file = \"./other\"",
        ),
        ("url", URL),
        ("other", "postgres://app@other.example.com/platform"),
    ]);
    let now = || load_in(&directory, &[]).unwrap().settings.databases["a"].clone();
    let put = |text: &str| std::fs::write(directory.path().join("url"), text).unwrap();
    let first = now();
    assert!(first.has_secret_files());
    for (text, same) in [
        ("postgres://app:other@db.example.com/platform\n", true),
        ("postgres://app@db.example.com/platform", true),
        ("postgres://app:hunter2@db2.example.com/platform", false),
        (
            "postgres://app:hunter2@db.example.com/platform?sslmode=disable",
            false,
        ),
        ("postgres://other:hunter2@db.example.com/platform", false),
    ] {
        put(text);
        assert_eq!(now() == first, same, "{text}");
        let again = first.with_secrets_read_again().unwrap();
        assert_eq!(
            again,
            now(),
            "{text}: read again, it is what loading it gives"
        );
        assert_eq!(again.connect_config(), now().connect_config(), "{text}");
        assert_eq!(again.tls, now().tls, "{text}");
    }
    put(URL);
    std::fs::write(
        directory.path().join("agent-sync.toml"),
        "# a comment\n[databases.a]\nurl_file = \"./url\"",
    )
    .unwrap();
    assert_eq!(now(), first, "lines have moved");
    std::fs::copy(directory.path().join("url"), directory.path().join("copy")).unwrap();
    std::fs::write(
        directory.path().join("agent-sync.toml"),
        "[databases.a]\nurl_file = \"./copy\"",
    )
    .unwrap();
    assert_ne!(now(), first, "another file is read from now on");
}

#[test]
fn databases_are_selected_by_name() {
    let loaded = load(
        "[databases]\na.url = \"host=/tmp dbname=a\"\nb.url = \"host=/tmp dbname=b\"\nc.url = \
        \"host=/tmp dbname=c\"",
        &[],
    )
    .unwrap();
    let names = |wanted: &[&str]| {
        let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        let selected = loaded.settings.select(&wanted);
        selected.map(|databases| {
            databases
                .iter()
                .map(|database| database.name.clone())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(names(&[]).unwrap(), ["a", "b", "c"]);
    assert_eq!(names(&["c", "a", "c"]).unwrap(), ["a", "c"]);
    let error = names(&["a", "x", "y"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no database is configured under the name \"x\", \"y\""
    );
    assert_eq!(error.remedy(), "name one of: a, b, c");

    let error = Settings::load_from(&Sources::default())
        .unwrap()
        .settings
        .select(&[])
        .unwrap_err();
    assert_eq!(error.to_string(), "no database is configured");
    let missing = Path::new("/nonexistent/agent-sync.toml");
    let sources = Sources::new(None, Some(missing), Vec::new());
    let settings = Settings::load_from(&sources).unwrap().settings;
    assert_eq!(
        settings.select(&[]).unwrap_err().to_string(),
        "no database is configured: neither in /nonexistent/agent-sync.toml (not found), nor in the \
        environment"
    );
    let remedy = "add a table `[databases.NAME]` with a url to the settings file, such as url = \
        \"postgres://USER@HOST:5432/DATABASE\"; or set DATABASE_URL to such a URL, or PGHOST";
    assert_eq!(error.remedy(), remedy);
}

/// A relative secret is a loaded credential if one has its name.
#[test]
fn a_relative_secret_is_a_loaded_credential() {
    let directory = directory(&[
        (
            "agent-sync.toml",
            "[databases.a]\nurl_file = \"./secrets/a.url\"\npassword_file = \"./secrets/password\"",
        ),
        (
            "databases.d/b.toml",
            "[databases.b]\nurl_file = \"../secrets/b.url\"",
        ),
        ("secrets/a.url", URL),
        ("secrets/b.url", "postgres://app@db.example.com/b"),
        ("secrets/password", "beside the file"),
        (
            "loaded/secrets_a.url",
            "postgres://app@loaded.example.com/platform",
        ),
        (
            "loaded/secrets_b.url",
            "postgres://app@loaded.example.com/b",
        ),
    ]);
    let loaded = directory.path().join("loaded");
    let of = |variables: &[(&str, &str)]| {
        let loaded = load_in(&directory, variables).unwrap();
        [
            &loaded.settings.databases["a"],
            &loaded.settings.databases["b"],
        ]
        .map(Database::target)
    };
    let beside = of(&[]);
    assert!(
        beside
            .iter()
            .all(|target| target.contains("db.example.com")),
        "{beside:?}"
    );
    let credential = of(&[("CREDENTIALS_DIRECTORY", loaded.to_str().unwrap())]);
    assert!(
        credential
            .iter()
            .all(|target| target.contains("loaded.example.com")),
        "{credential:?}"
    );
    // The password has no credential and is read from its path.
    std::fs::write(loaded.join("secrets_password"), "").unwrap();
    let refused = load_in(
        &directory,
        &[("CREDENTIALS_DIRECTORY", loaded.to_str().unwrap())],
    )
    .unwrap_err();
    assert!(refused.contains("secrets_password is empty"), "{refused}");
}

/// A command is a list of words, and `config` prints its program alone. It runs for a connection,
/// and not when the settings are loaded.
#[test]
fn g11_a_password_command_is_printed_without_its_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace").display().to_string();
    let file = format!(
        "[databases.a]\nurl = \"postgres://app@db/x\"\npassword_command = [\"/usr/bin/touch\", \
        \"{trace}\", \"hunter2\"]"
    );
    let loaded = load(&file, &[]).unwrap();
    let command = loaded.settings.databases["a"].password_command.as_ref();
    let expected = ["/usr/bin/touch", &trace, "hunter2"].map(str::to_owned);
    assert_eq!(command, Some(&expected.to_vec()));
    let entry = |key: &str| {
        let key = format!("databases.a.{key}");
        let entry = loaded.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| (entry.value.to_string(), entry.source.clone()))
    };
    let (value, _) = entry("password_command").unwrap();
    assert_eq!(value, "[\"/usr/bin/touch\",\"********\"]");
    let password = (
        "\"********\"".to_owned(),
        "the output of password_command".to_owned(),
    );
    assert_eq!(entry("password"), Some(password));

    let variables = [
        ("DATABASE_URL", URL),
        (
            "AGENT_SYNC__DATABASES__DEFAULT__PASSWORD_COMMAND",
            "[\"/bin/true\"]",
        ),
    ];
    let loaded = load("", &variables).unwrap();
    let command = loaded.settings.databases["default"]
        .password_command
        .clone();
    assert_eq!(command, Some(vec!["/bin/true".to_owned()]));
    assert!(!std::path::Path::new(&trace).exists());
}
