//! The sources of libpq: `PG*` variables, the service file and the password file, in the order of
//! libpq and after the settings (I9). `agent-sync config` prints the source of each value.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use agent_sync::settings::{Database, Loaded, Settings, Sources, Tls};

use super::config::run;
use super::{directory, environment, load, source};

/// What each variable sets, and the same in a service file and in a URL.
const SERVICE: &str = "# comment\n[main]\nhost=service.example.com\nport=6001\nuser=of_service\n\
    password=hunter2\n[other]\nhost=never.example.com\n";

fn target(loaded: &Loaded, name: &str) -> String {
    loaded.settings.databases[name].target()
}

/// The variables alone define the database `default`, as psql would connect.
#[test]
fn i9_variables_alone_define_the_database_default() {
    for (variables, expected) in [
        (
            &[
                ("PGHOST", "db.example.com"),
                ("PGPORT", "6000"),
                ("PGUSER", "app"),
                ("PGDATABASE", "platform"),
            ][..],
            "user app at db.example.com:6000, database platform",
        ),
        (&[("PGHOST", "/srv/sockets")], "/srv/sockets:5432"),
        (&[("PGHOST", "a,b"), ("PGPORT", "1,2")], "a:1, b:2"),
        (&[("PGHOSTADDR", "10.0.0.1"), ("PGHOST", "db")], "db:5432"),
    ] {
        let loaded = load("", variables).unwrap();
        assert_eq!(loaded.settings.databases.len(), 1);
        assert_eq!(target(&loaded, "default"), expected, "{variables:?}");
        assert_eq!(
            source(&loaded, "databases.default.target"),
            "environment variable PGHOST"
        );
    }
    // Without a host, the server is that of this machine.
    let loaded = load("", &[("PGUSER", "app"), ("PGDATABASE", "platform")]).unwrap();
    let target = target(&loaded, "default");
    assert!(
        [
            "user app at /var/run/postgresql:5432, database platform",
            "user app at /tmp:5432, database platform"
        ]
        .contains(&&*target),
        "{target}"
    );
    assert_eq!(source(&loaded, "databases.default.host"), "default");
    assert_eq!(
        source(&loaded, "databases.default.user"),
        "environment variable PGUSER"
    );
    // A table without a connection string has further settings of the same database.
    let file = "[databases.default]\nconnect_timeout = \"3s\"";
    let loaded = load(file, &[("PGHOST", "db"), ("PGSSLMODE", "require")]).unwrap();
    let database = &loaded.settings.databases["default"];
    assert_eq!(
        (database.tls, database.target()),
        (Tls::Require, "db:5432".to_owned())
    );
    assert_eq!(
        source(&loaded, "databases.default.tls"),
        "environment variable PGSSLMODE"
    );
}

#[test]
fn i9_variables_that_are_no_address_define_no_database() {
    for variables in [
        &[("PGPASSWORD", "hunter2"), ("PGSSLMODE", "require")][..],
        &[
            ("PGHOST", "db"),
            ("AGENT_SYNC__LIBPQ__ENVIRONMENT", "false"),
        ],
    ] {
        let loaded = load("", variables).unwrap();
        assert!(loaded.settings.databases.is_empty(), "{variables:?}");
    }
    let told = load("[databases.main]\ntls = \"require\"", &[("PGHOST", "db")]).unwrap_err();
    assert!(
        told.contains("databases.main.url: expected a url or url_file"),
        "{told}"
    );
}

/// Settings, then the URL, then the service, then the variables, then the password file.
#[test]
fn i9_the_order_is_that_of_libpq() {
    let home = directory(&[
        (".pg_service.conf", SERVICE),
        (".pgpass", "*:*:*:*:of_file\n"),
        ("password", "of_setting"),
    ]);
    let path = |name: &str| home.path().join(name).display().to_string();
    let home_path = home.path().display().to_string();
    let password = path("password");
    let all = [
        ("HOME", &*home_path),
        ("PGHOST", "variable.example.com"),
        ("PGPORT", "6000"),
        ("PGUSER", "of_variable"),
        ("PGDATABASE", "of_variable"),
        ("PGPASSWORD", "of_variable"),
    ];
    for (url, more, expected, password) in [
        (
            "postgres://app:of_url@db.example.com:5433/x",
            &[("PGSERVICE", "main")][..],
            "user app at db.example.com:5433, database x",
            "of_url",
        ),
        (
            "postgres://db.example.com",
            &[("PGSERVICE", "main")],
            "user of_service at db.example.com:6001, database of_variable",
            "hunter2",
        ),
        (
            "service=main port=5434",
            &[],
            "user of_service at service.example.com:5434, database of_variable",
            "hunter2",
        ),
        (
            "postgres://db.example.com/x",
            &[],
            "user of_variable at db.example.com:6000, database x",
            "of_variable",
        ),
        (
            "dbname=x",
            &[("AGENT_SYNC__DATABASES__MAIN__PASSWORD_FILE", &*password)],
            "user of_variable at variable.example.com:6000, database x",
            "of_setting",
        ),
    ] {
        let mut variables = all.to_vec();
        variables.push(("AGENT_SYNC__DATABASES__MAIN__URL", url));
        variables.extend(more);
        let loaded = load("", &variables).unwrap();
        assert_eq!(target(&loaded, "main"), expected, "{url}");
        let config = loaded.settings.databases["main"].connect_config();
        assert_eq!(config.get_password(), Some(password.as_bytes()), "{url}");
    }
    // Without any other password, the file has it.
    let variables = [("HOME", &*home_path), ("PGHOST", "db"), ("PGUSER", "app")];
    let loaded = load("", &variables).unwrap();
    assert_eq!(
        source(&loaded, "databases.default.password"),
        format!("password file {}", path(".pgpass"))
    );
    // The switch leaves out all of it, but for what the URL names.
    let off = ("AGENT_SYNC__LIBPQ__ENVIRONMENT", "false");
    let url = ("DATABASE_URL", "postgres://db.example.com");
    let loaded = load("", &[&all[..], &[off, url]].concat()).unwrap();
    assert_eq!(target(&loaded, "default"), "db.example.com:5432");
    let config = loaded.settings.databases["default"].connect_config();
    assert_eq!(config.get_password(), None);
    assert!(
        !loaded
            .entries
            .iter()
            .any(|entry| entry.key.ends_with(".password"))
    );
    let url = ("DATABASE_URL", "service=main");
    let loaded = load("", &[off, url, ("HOME", &home_path)]).unwrap();
    assert_eq!(
        target(&loaded, "default"),
        "user of_service at service.example.com:6001"
    );
}

#[test]
fn i9_certificates_and_modes_come_from_variables() {
    let home = directory(&[("root.crt", "-----BEGIN CERTIFICATE-----")]);
    let root = home.path().join("root.crt").display().to_string();
    let sources = [("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", &*root)];
    for (url, tls) in [
        ("postgres://db.example.com/x", Tls::VerifyCa),
        ("postgres://localhost/x", Tls::VerifyCa),
        // The URL is stronger than a variable, and a Unix socket has no TLS.
        (
            "postgres://db.example.com/x?sslmode=verify-full",
            Tls::VerifyFull,
        ),
        ("postgres://localhost/x?sslmode=disable", Tls::Disable),
        ("host=/run/postgresql", Tls::Disable),
    ] {
        let loaded = load("", &[&sources[..], &[("DATABASE_URL", url)]].concat()).unwrap();
        let database = &loaded.settings.databases["default"];
        assert_eq!(database.tls, tls, "{url}");
        let has_root = tls != Tls::Disable;
        assert_eq!(database.tls_root_cert.is_some(), has_root, "{url}");
    }
    // A setting is stronger, even if it asks for less.
    let variables = [
        ("DATABASE_URL", "postgres://db.example.com/x"),
        ("PGSSLMODE", "verify-full"),
        ("AGENT_SYNC__DATABASES__DEFAULT__TLS", "require"),
    ];
    let loaded = load("", &variables).unwrap();
    assert_eq!(loaded.settings.databases["default"].tls, Tls::Require);
    // Certificates of the client do not count for a server of this machine, where nothing is
    // encrypted.
    for name in ["PGSSLCERT", "PGSSLKEY"] {
        load("", &[("PGHOST", "localhost"), (name, "/nonexistent/file")]).unwrap();
    }
}

/// Each mistake names its variable or its line, and quotes nothing.
#[test]
fn i9_a_mistake_names_its_source() {
    let home = directory(&[(
        "services",
        "[broken]\nhost=a\nhunter2\n[unknown]\nhunter2=x\n[mode]\nhost=db\nsslmode=hunter2\n",
    )]);
    let file = home.path().join("services").display().to_string();
    let key = "databases.default.url: expected";
    for (variables, told) in [
        (
            &[("PGHOST", "db"), ("PGPORT", "hunter2")][..],
            format!(
                "environment variable PGPORT: {key} a connection string, found a value that `port` cannot take; name a number"
            ),
        ),
        (
            &[("PGHOST", "db"), ("PGUSER", "a:hunter2")],
            format!(
                "environment variable PGUSER: {key} a plain name as the user, found one with `:`"
            ),
        ),
        (
            &[("PGHOST", "db"), ("PGSSLMODE", "prefer")],
            "environment variable PGSSLMODE: databases.default.tls: expected \"disable\", \
             \"require\", \"verify-ca\" or \"verify-full\", found \"prefer\"; \"require\" is"
                .to_owned(),
        ),
        (
            &[("PGHOST", "db"), ("PGPASSFILE", "hunter2")],
            format!("environment variable PGPASSFILE: {key} `passfile` to be the path of a file"),
        ),
        (
            &[("PGHOST", "db"), ("PGCLIENTENCODING", "hunter2")],
            format!("environment variable PGCLIENTENCODING: {key} `client_encoding` to be one of"),
        ),
        (
            &[("PGHOST", "db"), ("PGPASSWORD", "[YOUR-PASSWORD]")],
            format!("environment variable PGPASSWORD: {key} a password, found the placeholder"),
        ),
        (
            &[("PGSERVICE", "hunter2"), ("PGSERVICEFILE", &*file)],
            format!(
                "environment variable PGSERVICE: {key} a section with the name of the service in {file}"
            ),
        ),
        (
            &[("PGSERVICE", "broken"), ("PGSERVICEFILE", &file)],
            format!("{file}:3: {key} `parameter=value`, found a line without `=`"),
        ),
        (
            &[("PGSERVICE", "unknown"), ("PGSERVICEFILE", &file)],
            format!("{file}:5: {key} parameters that agent-sync knows, found an unknown parameter"),
        ),
        (
            &[("PGSERVICE", "mode"), ("PGSERVICEFILE", &file)],
            format!("{file}:8: databases.default.tls: expected \"disable\""),
        ),
        (
            &[
                ("PGSERVICE", "x"),
                ("PGSERVICEFILE", "/nonexistent/services"),
            ],
            "/nonexistent/services: databases.default.url: cannot be read: No such file".to_owned(),
        ),
        (
            &[
                ("PGSERVICE", "x"),
                ("PGSERVICEFILE", "postgres://app:hunter2@db/x"),
            ],
            format!("environment variable PGSERVICEFILE: {key} the path of a file"),
        ),
        (
            &[
                ("PGSERVICE", "x"),
                ("PGSYSCONFDIR", "/postgres://app:hunter2@db/x"),
            ],
            format!("environment variable PGSYSCONFDIR: {key} the path of a file"),
        ),
        (
            &[("DATABASE_URL", "service=x servicefile=hunter2")],
            format!("environment variable DATABASE_URL: {key} the path of a file"),
        ),
        (
            &[("DATABASE_URL", "postgres://db/x?passfile=hunter2")],
            format!("environment variable DATABASE_URL: {key} `passfile` to be the path of a file"),
        ),
        (
            &[
                ("DATABASE_URL", "service=hunter2"),
                ("PGSYSCONFDIR", "/nonexistent"),
            ],
            format!(
                "environment variable DATABASE_URL: {key} a section with the name of the service in /nonexistent/pg_service.conf"
            ),
        ),
    ] {
        let found = load("", variables).unwrap_err();
        assert!(found.starts_with(&told), "{told}\n{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}

/// A password file that others can read is passed over, as by libpq, and `config` says so.
#[test]
fn s16_a_password_file_open_to_others_is_not_used() {
    let home = directory(&[(".pgpass", "db:5432:*:app:hunter2\n")]);
    let (file, home) = (home.path().join(".pgpass"), home);
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let home = home.path().display().to_string();
    let variables = [("HOME", &*home), ("PGHOST", "db"), ("PGUSER", "app")];
    for (bits, used) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
        mode(bits);
        let loaded = load("", &variables).unwrap();
        let is_used = loaded
            .entries
            .iter()
            .any(|entry| entry.key.ends_with(".password"));
        assert_eq!(is_used, used, "{bits:o}");
        let note = format!(
            "the password file is not used: expected a password file that only its owner can read \
            in {}, found mode {bits:04o}; chmod 0600",
            file.display()
        );
        assert_eq!(
            loaded.notes.iter().any(|text| text.starts_with(&note)),
            !used,
            "{:?}",
            loaded.notes
        );
        let text = format!("{loaded:?} {:?}", run(&[], &variables));
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// Every value of these sources has its source in the output, and no secret is printed.
#[test]
fn g11_config_prints_the_source_of_each_value_and_no_secret() {
    let home = directory(&[(".pg_service.conf", SERVICE)]);
    let home_path = home.path().display().to_string();
    let variables = [
        ("HOME", &*home_path),
        ("PGSERVICE", "main"),
        ("PGDATABASE", "platform"),
        ("PGOPTIONS", "-c x.y=hunter2"),
        ("PGAPPNAME", "hunter2"),
        ("PGTARGETSESSIONATTRS", "read-write"),
        ("PGCONNECT_TIMEOUT", "7"),
        ("PGREQUIREAUTH", "scram-sha-256"),
    ];
    let output = run(&[], &variables);
    let text = String::from_utf8(output.stdout).unwrap();
    let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let file = Path::new(&home_path).join(".pg_service.conf");
    let file = file.display();
    for line in [
        format!("# host = \"service.example.com\" # {file}:3"),
        format!("# port = \"6001\" # {file}:4"),
        format!("# password = \"********\" # {file}:6"),
        "# dbname = \"platform\" # environment variable PGDATABASE".to_owned(),
        "# options = \"********\" # environment variable PGOPTIONS".to_owned(),
        "# target_session_attrs = \"read-write\" # environment variable PGTARGETSESSIONATTRS"
            .to_owned(),
        "connect_timeout = \"7s\" # environment variable PGCONNECT_TIMEOUT".to_owned(),
        "# note: environment variable PGAPPNAME: `application_name` has no effect".to_owned(),
        "# note: PGREQUIREAUTH is set and not used".to_owned(),
    ] {
        assert!(squeezed.contains(&line), "{line}\n{text}");
    }
    assert!(
        !text.contains("hunter2") && !squeezed.contains("application_name ="),
        "{text}"
    );
    assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
    // The configuration of the driver prints `options` for debugging, which no output has.
    let rest: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| *name != "PGOPTIONS")
        .collect();
    let sources = Sources::new(None, None, environment(&rest));
    let loaded = Settings::load_from(&sources).unwrap();
    assert!(!format!("{sources:?} {loaded:?}").contains("hunter2"));
    // A password in a service file that others can read is reported like any other secret.
    fs::set_permissions(
        home.path().join(".pg_service.conf"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let output = run(&[], &variables);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(&format!("# warning: {file} holds a secret")),
        "{text}"
    );
}

/// A connection string or a password in the place of any variable is not printed.
#[test]
fn g11_a_secret_in_the_wrong_variable_is_not_printed() {
    const NAMES: [&str; 23] = [
        "PGHOST",
        "PGHOSTADDR",
        "PGPORT",
        "PGDATABASE",
        "PGUSER",
        "PGSERVICE",
        "PGPASSWORD",
        "PGPASSFILE",
        "PGSERVICEFILE",
        "PGSYSCONFDIR",
        "PGAPPNAME",
        "PGCHANNELBINDING",
        "PGCLIENTENCODING",
        "PGCONNECT_TIMEOUT",
        "PGGSSENCMODE",
        "PGLOADBALANCEHOSTS",
        "PGOPTIONS",
        "PGSSLCERT",
        "PGSSLKEY",
        "PGSSLMODE",
        "PGSSLNEGOTIATION",
        "PGSSLROOTCERT",
        "PGTARGETSESSIONATTRS",
    ];
    let home = directory(&[("services", "[main]\nhost=db\n")]);
    let services = home.path().join("services").display().to_string();
    let (mut refused, mut taken) = (0, 0);
    for name in NAMES {
        for secret in [
            "postgres://app:hunter2@db/x",
            "app:hunter2@db/x",
            "host=db password=hunter2",
            "db:5432:x:app:hunter2",
        ] {
            for base in [
                ("PGHOST", "db"),
                ("PGSERVICE", "main"),
                ("DATABASE_URL", "postgres://db/x"),
            ] {
                let mut variables = vec![base, ("PGSERVICEFILE", &*services)];
                variables.retain(|(other, _)| *other != name);
                variables.push((name, secret));
                let told = match load("", &variables) {
                    Err(told) => {
                        refused += 1;
                        told
                    }
                    Ok(loaded) => {
                        taken += 1;
                        let targets = loaded.settings.databases.values().map(Database::target);
                        let targets: Vec<_> = targets.collect();
                        format!("{:?} {:?} {targets:?}", loaded.entries, loaded.notes)
                    }
                };
                assert!(!told.contains("hunter2"), "{variables:?}: {told}");
            }
        }
    }
    assert!(refused > 100 && taken > 20, "{refused} {taken}");
}
