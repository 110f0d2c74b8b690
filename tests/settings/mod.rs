//! The settings (I3), from the outside: every source, which one wins, and every mistake with its exact wording.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use agent_sync::settings::{Database, Loaded, LogFormat, Settings, Sources, Tls};
use tempfile::TempDir;
use tokio_postgres::config::SslMode;

/// A directory with these files, settings file and drop-ins among them.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Loads `agent-sync.toml` of the directory, or the errors, with the directory's path taken out.
fn load_in(directory: &TempDir, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let file = directory.path().join("agent-sync.toml");
    let sources = Sources::new(None, Some(&file), environment(variables));
    let place = format!("{}/", directory.path().display());
    Settings::load_from(&sources).map_err(|error| error.to_string().replace(&place, ""))
}

fn load(file: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    load_in(&directory(&[("agent-sync.toml", file)]), variables)
}

/// The one database of a connection string.
fn database(url: &str) -> Database {
    let loaded = load("", &[("DATABASE_URL", url)]).unwrap();
    loaded.settings.databases["default"].clone()
}

fn source(loaded: &Loaded, key: &str) -> String {
    let entry = loaded.entries.iter().find(|entry| entry.key == key);
    entry.unwrap_or_else(|| panic!("{key} is not in force")).source.clone()
}

const URL: &str = "postgres://app:hunter2@db.example.com/platform";

#[test]
fn without_any_source_the_defaults_are_in_force() {
    let loaded = Settings::load_from(&Sources::default()).unwrap();
    let settings = &loaded.settings;
    assert_eq!((settings.log.format, settings.log.level.as_str()), (LogFormat::Auto, "info"));
    assert_eq!(settings.rules.file, None);
    assert!(settings.capture.notify && settings.capture.configurations);
    assert_eq!(settings.sync.batch_size, 500);
    assert_eq!(settings.sync.sweep_interval, Duration::from_secs(30));
    assert_eq!(settings.sync.poll_interval, Duration::from_secs(1));
    assert_eq!(settings.sync.probe_interval, Duration::from_secs(5));
    assert_eq!(settings.sync.probe_timeout, Duration::from_secs(5));
    assert_eq!(settings.sync.lock_timeout, Duration::from_millis(500));
    assert_eq!(settings.sync.statement_timeout, Duration::from_secs(30));
    assert_eq!(settings.reconcile.confirm_above, 100);
    assert_eq!(settings.reconnect.initial_delay, Duration::from_millis(100));
    assert_eq!(settings.reconnect.max_delay, Duration::from_secs(30));
    assert_eq!(settings.shutdown.grace_period, Duration::from_secs(4));
    assert_eq!(settings.admin.listen, Some("127.0.0.1:9878".parse().unwrap()));
    assert!(settings.databases.is_empty() && loaded.notes.is_empty());
    assert!(loaded.entries.iter().all(|entry| entry.source == "default"));
}

#[test]
fn each_source_overrides_the_ones_before_it() {
    let directory = directory(&[
        (
            "agent-sync.toml",
            "[sync]\nbatch_size = 1\nlock_timeout = \"1ms\"\n\n[log]\nlevel = \"warn\"\nformat = \"json\"",
        ),
        (
            "databases.d/10-first.toml",
            "sync.lock_timeout = \"2ms\"\nlog.level = \"debug\"\nlog.format = \"pretty\"",
        ),
        ("databases.d/20-second.toml", "log.level = \"trace\"\nlog.format = \"pretty\""),
        ("databases.d/.hidden.toml", "sync.batch_size = 9"),
        ("databases.d/30-other.txt", "not TOML"),
    ]);
    let loaded = load_in(&directory, &[("AGENT_SYNC__LOG__FORMAT", "auto")]).unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.sync.batch_size, 1);
    assert_eq!(settings.sync.lock_timeout, Duration::from_millis(2));
    assert_eq!(settings.log.level, "trace");
    assert_eq!(settings.log.format, LogFormat::Auto);
    let at = |place: &str| format!("{}/{place}", directory.path().display());
    assert_eq!(source(&loaded, "sync.batch_size"), at("agent-sync.toml:2"));
    assert_eq!(source(&loaded, "sync.lock_timeout"), at("databases.d/10-first.toml:1"));
    assert_eq!(source(&loaded, "log.level"), at("databases.d/20-second.toml:1"));
    assert_eq!(source(&loaded, "log.format"), "environment variable AGENT_SYNC__LOG__FORMAT");
    assert_eq!(source(&loaded, "sync.poll_interval"), "default");
}

#[test]
fn the_file_is_the_one_of_the_command_line_else_of_the_environment_else_the_default() {
    let directory = directory(&[
        ("typed.toml", "sync.batch_size = 1"),
        ("variable.toml", "sync.batch_size = 2"),
        ("default.toml", "sync.batch_size = 3"),
    ]);
    let path = |name: &str| directory.path().join(name);
    let variable = path("variable.toml");
    let batch_size = |typed: Option<&Path>, variable: &str| {
        let env = environment(&[("AGENT_SYNC_CONFIG", variable)]);
        let loaded = Settings::load_from(&Sources::new(typed, Some(&path("default.toml")), env)).unwrap();
        loaded.settings.sync.batch_size
    };
    assert_eq!(batch_size(Some(&path("typed.toml")), variable.to_str().unwrap()), 1);
    assert_eq!(batch_size(None, variable.to_str().unwrap()), 2);
    assert_eq!(batch_size(None, ""), 3);
}

#[test]
fn a_file_that_was_named_must_exist_and_the_default_one_need_not() {
    let directory = directory(&[("databases.d/one.toml", "databases.one.url = \"host=/tmp\"")]);
    let missing = directory.path().join("missing.toml");
    let loaded = Settings::load_from(&Sources::new(None, Some(&missing), [])).unwrap();
    assert!(loaded.settings.databases.contains_key("one"), "drop-ins are read all the same");

    let error = |sources: Sources| Settings::load_from(&sources).unwrap_err().to_string();
    let reason = "cannot be read: No such file or directory (os error 2); \
                  name a settings file that exists and that this user may read";
    let file = missing.display();
    assert_eq!(error(Sources::new(Some(&missing), None, [])), format!("{file} (--config): {reason}"));
    let env = environment(&[("AGENT_SYNC_CONFIG", missing.to_str().unwrap())]);
    let expected = format!("{file} (environment variable AGENT_SYNC_CONFIG): {reason}");
    assert_eq!(error(Sources::new(None, None, env)), expected);
}

#[test]
fn a_default_file_that_may_or_may_not_exist_is_not_passed_over() {
    let directory = directory(&[("file", "")]);
    let unreachable = directory.path().join("file/agent-sync.toml");
    let error = Settings::load_from(&Sources::new(None, Some(&unreachable), [])).unwrap_err();
    assert!(error.to_string().contains("agent-sync.toml: cannot be read: Not a directory"), "{error}");
}

#[test]
fn the_environment_sets_any_key_and_is_coerced() {
    let loaded = load(
        "",
        &[
            ("AGENT_SYNC__SYNC__BATCH_SIZE", "7"),
            ("AGENT_SYNC__CAPTURE__NOTIFY", "false"),
            ("AGENT_SYNC__SHUTDOWN__GRACE_PERIOD", "2s"),
            ("AGENT_SYNC__LOG__LEVEL", ""),
            ("AGENT_SYNC__DATABASES__EU_1__URL", URL),
            ("AGENT_SYNC__DATABASES__EU_1__KEEPALIVES_COUNT", "5"),
            ("AGENT_SYNC__DATABASES__EU_1__CONFIGURATIONS__COLUMNS__AGENT_SLUG", "slug"),
            ("AGENT_SYNC_PORT", "tcp://10.0.0.1:80"),
        ],
    )
    .unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.sync.batch_size, 7);
    assert!(!settings.capture.notify);
    assert_eq!(settings.shutdown.grace_period, Duration::from_secs(2));
    assert_eq!(settings.log.level, "info", "an empty variable is not set");
    let database = &settings.databases["eu_1"];
    assert_eq!(database.keepalives_count, 5);
    assert_eq!(database.configurations.columns.agent_slug, "slug");
    assert_eq!(database.configurations.columns.agent_name, "agent_name");
}

#[test]
fn database_url_defines_the_database_default_where_there_is_no_other() {
    let loaded = load("", &[("DATABASE_URL", URL)]).unwrap();
    assert_eq!(loaded.settings.databases.keys().collect::<Vec<_>>(), ["default"]);
    assert_eq!(source(&loaded, "databases.default.url"), "environment variable DATABASE_URL");
    assert!(loaded.notes.is_empty());

    let loaded = load("[databases.default]\nconnect_timeout = \"1s\"", &[("DATABASE_URL", URL)]).unwrap();
    let database = &loaded.settings.databases["default"];
    assert_eq!(database.connect_timeout, Duration::from_secs(1));
    assert_eq!(database.target(), "user app at db.example.com:5432, database platform");

    assert!(load("", &[("DATABASE_URL", "")]).unwrap().settings.databases.is_empty());
}

#[test]
fn database_url_is_ignored_beside_other_databases_and_the_notes_say_so() {
    let loaded = load("databases.eu.url = \"host=/tmp\"", &[("DATABASE_URL", URL)]).unwrap();
    assert_eq!(loaded.settings.databases.keys().collect::<Vec<_>>(), ["eu"]);
    assert_eq!(loaded.notes, ["DATABASE_URL is ignored: databases are configured (eu)"]);

    let loaded = load("databases.default.url = \"host=/tmp\"", &[("DATABASE_URL", URL)]).unwrap();
    assert_eq!(loaded.settings.databases["default"].target(), "/tmp:5432");
    assert_eq!(
        loaded.notes,
        ["DATABASE_URL is ignored: the database `default` has a url or url_file of its own"]
    );
}

#[test]
fn secret_files_lose_one_line_feed_and_override_the_url() {
    let directory = directory(&[
        (
            "agent-sync.toml",
            "[databases.a]\nurl_file = \"./secrets/url\"\npassword_file = \"./secrets/password\"",
        ),
        ("secrets/url", "postgres://app:old@db.example.com/platform\r\n"),
        ("secrets/password", " new \n\n"),
    ]);
    let loaded = load_in(&directory, &[]).unwrap();
    let database = &loaded.settings.databases["a"];
    assert_eq!(database.target(), "user app at db.example.com:5432, database platform");
    assert_eq!(database.connect_config().get_password(), Some(&b" new \n"[..]));
    assert!(source(&loaded, "databases.a.url").starts_with("secret file /"));
    assert!(source(&loaded, "databases.a.password").ends_with("secrets/password"));
}

#[test]
fn a_relative_secret_is_a_credential_where_one_of_its_name_is_loaded() {
    let directory = directory(&[
        (
            "agent-sync.toml",
            "[databases.a]\nurl_file = \"./secrets/a.url\"\npassword_file = \"./secrets/password\"",
        ),
        ("databases.d/b.toml", "[databases.b]\nurl_file = \"../secrets/a.url\""),
        ("secrets/a.url", URL),
        ("secrets/password", "beside the file"),
        ("loaded/secrets_a.url", "postgres://app@loaded.example.com/platform"),
    ]);
    let loaded = directory.path().join("loaded");
    let of = |variables: &[(&str, &str)]| {
        let loaded = load_in(&directory, variables).unwrap();
        [&loaded.settings.databases["a"], &loaded.settings.databases["b"]].map(Database::target)
    };
    let beside = of(&[]);
    assert!(beside.iter().all(|target| target.contains("db.example.com")), "{beside:?}");
    let credential = of(&[("CREDENTIALS_DIRECTORY", loaded.to_str().unwrap())]);
    assert!(credential.iter().all(|target| target.contains("loaded.example.com")), "{credential:?}");
    // The password has no credential, and is read where it is.
    fs::write(loaded.join("secrets_password"), "").unwrap();
    let refused = load_in(&directory, &[("CREDENTIALS_DIRECTORY", loaded.to_str().unwrap())]).unwrap_err();
    assert!(refused.contains("secrets_password is empty"), "{refused}");
}

#[test]
fn tls_is_what_is_set_else_what_the_url_says_else_what_is_safe_there() {
    for (url, tls) in [
        ("postgres://db.example.com/x", Tls::Require),
        ("postgres://localhost/x", Tls::Disable),
        ("postgres://127.0.0.2/x", Tls::Disable),
        ("postgres://[::1]/x", Tls::Disable),
        ("host=/run/postgresql", Tls::Disable),
        ("postgres://localhost/x?sslmode=require", Tls::Require),
        ("postgres://db.example.com/x?sslmode=disable", Tls::Disable),
        ("postgres://db.example.com/x?sslmode=verify-ca", Tls::VerifyCa),
        ("host=db.example.com sslmode=verify-full", Tls::VerifyFull),
    ] {
        let database = database(url);
        assert_eq!(database.tls(), tls, "{url}");
        let mode = if tls == Tls::Disable { SslMode::Disable } else { SslMode::Require };
        assert_eq!(database.connect_config().get_ssl_mode(), mode, "{url}");
    }

    let root = directory(&[("root.crt", "")]);
    let root = root.path().join("root.crt").display().to_string();
    let variables =
        |url, tls| [("DATABASE_URL", url), ("AGENT_SYNC__DATABASES__DEFAULT__TLS_ROOT_CERT", &*root), tls];
    for (url, tls, expected) in [
        (URL, "", Tls::VerifyFull),
        ("postgres://localhost/x", "", Tls::VerifyFull),
        (URL, "verify-ca", Tls::VerifyCa),
        ("postgres://db.example.com/x?sslmode=require", "verify-ca", Tls::VerifyCa),
    ] {
        let variables = variables(url, ("AGENT_SYNC__DATABASES__DEFAULT__TLS", tls));
        let loaded = load("", &variables).unwrap();
        assert_eq!(loaded.settings.databases["default"].tls(), expected, "{url} {tls}");
    }

    let loaded = load("", &[("DATABASE_URL", &format!("postgres://a@b/c?sslrootcert={root}"))]).unwrap();
    assert_eq!(loaded.settings.databases["default"].tls(), Tls::VerifyFull);
    assert_eq!(
        source(&loaded, "databases.default.tls_root_cert"),
        "environment variable DATABASE_URL, sslrootcert"
    );
}

#[test]
fn parameters_of_the_url_override_defaults_and_yield_to_settings() {
    let url = "postgres://a@b/c?connect_timeout=3&tcp_user_timeout=9000&keepalives_idle=4&keepalives_count=2";
    let loaded =
        load("", &[("DATABASE_URL", url), ("AGENT_SYNC__DATABASES__DEFAULT__KEEPALIVES_IDLE", "6s")])
            .unwrap();
    let config = loaded.settings.databases["default"].connect_config();
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
    assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_secs(9)));
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(6));
    assert_eq!(config.get_keepalives_interval(), Some(Duration::from_secs(3)));
    assert_eq!(config.get_keepalives_retries(), Some(2));
    assert_eq!(config.get_application_name(), None);
    let source = source(&loaded, "databases.default.connect_timeout");
    assert_eq!(source, "environment variable DATABASE_URL, connect_timeout");
}

#[test]
fn databases_differ_when_only_their_passwords_do() {
    assert_eq!(database(URL), database(URL));
    assert_ne!(database(URL), database("postgres://app:other@db.example.com/platform"));
}

#[test]
fn databases_are_selected_by_name() {
    let loaded =
        load("[databases]\na.url = \"host=/tmp\"\nb.url = \"host=/tmp\"\nc.url = \"host=/tmp\"", &[])
            .unwrap();
    let names = |wanted: &[&str]| {
        let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        let selected = loaded.settings.select(&wanted);
        selected.map(|databases| databases.iter().map(|database| database.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(names(&[]).unwrap(), ["a", "b", "c"]);
    assert_eq!(names(&["c", "a", "c"]).unwrap(), ["a", "c"]);
    let fault = names(&["a", "x", "y"]).unwrap_err();
    assert_eq!(fault.exit, agent_sync::exit::Exit::Usage);
    assert_eq!(fault.to_string(), "no database is configured under the name \"x\", \"y\"");
    assert_eq!(fault.remedy.unwrap(), "name one of: a, b, c");

    let fault = Settings::load_from(&Sources::default()).unwrap().settings.select(&[]).unwrap_err();
    assert_eq!(fault.exit, agent_sync::exit::Exit::Usage);
    assert_eq!(fault.to_string(), "no database is configured");
    let remedy = "add a table `[databases.NAME]` with a url to the settings file, or set DATABASE_URL";
    assert_eq!(fault.remedy.unwrap(), remedy);
}

#[test]
fn every_mistake_says_where_it_is_what_was_expected_and_what_to_do() {
    let mut cases = 0;
    let mut wrong = Vec::new();
    for case in include_str!("../cases/settings/mistakes.txt").split("\n\n").skip(1) {
        let lines = |mark: &str| case.lines().filter_map(|line| line.strip_prefix(mark)).collect::<Vec<_>>();
        let file: Vec<_> =
            case.lines().filter(|line| !line.starts_with("$ ") && !line.starts_with("=> ")).collect();
        let variables: Vec<_> = lines("$ ").iter().map(|line| line.split_once('=').unwrap()).collect();
        let found =
            load(&file.join("\n"), &variables).err().unwrap_or_else(|| "no mistake at all".to_owned());
        assert!(!found.contains("hunter2"), "a secret in: {found}");
        if found != lines("=> ").join("\n") {
            wrong.push(format!("{case}\n   {}", found.replace('\n', "\n   ")));
        }
        cases += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(cases >= 20, "the cases are not read");
}

#[test]
fn all_mistakes_of_all_sources_come_out_together() {
    let directory = directory(&[
        ("agent-sync.toml", "[log]\nformat = \"xml\"\n[databases.a]\nurl = \"hunter2\"\n[databases.b]"),
        ("databases.d/c.toml", "[databases.c]\nurl = \"host=/tmp\"\ntls = true"),
    ]);
    let variables = [("AGENT_SYNC__SYNC__BATCH_SIZE", "0"), ("AGENT_SYNC__LOG__FORMAT", "json")];
    let found = load_in(&directory, &variables).unwrap_err();
    let places: Vec<_> =
        found.lines().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        places,
        [
            "agent-sync.toml:2 log.format",
            "databases.d/c.toml:3 databases.c.tls",
            "environment variable AGENT_SYNC__SYNC__BATCH_SIZE sync.batch_size",
            "agent-sync.toml:4 databases.a.url",
            "agent-sync.toml:5 databases.b.url",
        ]
    );
}

#[test]
fn no_secret_is_ever_printed() {
    let directory = directory(&[("url", URL), ("password", "hunter2")]);
    let path = |name: &str| directory.path().join(name).display().to_string();
    for (url, url_file, password_file) in [
        (URL, "", ""),
        ("postgres://db.example.com/x?password=hunter2", "", ""),
        ("host=db.example.com password='hunter2'", "", ""),
        ("", &*path("url"), ""),
        ("host=db.example.com", "", &*path("password")),
    ] {
        let variables = [
            ("AGENT_SYNC__DATABASES__EU__URL", url),
            ("AGENT_SYNC__DATABASES__EU__URL_FILE", url_file),
            ("AGENT_SYNC__DATABASES__EU__PASSWORD_FILE", password_file),
        ];
        let sources = Sources::new(None, None, environment(&variables));
        let loaded = Settings::load_from(&sources).unwrap();
        let database = &loaded.settings.databases["eu"];
        assert_eq!(database.connect_config().get_password(), Some(&b"hunter2"[..]));
        for text in [format!("{sources:?}"), format!("{loaded:#?}"), database.target()] {
            assert!(!text.contains("hunter2"), "{text}");
        }
        for json in [&[][..], &["--json"]] {
            let output = run(json, &variables);
            assert!(output.status.success(), "{output:?}");
            let text = format!("{output:?}");
            assert!(text.contains("********") && !text.contains("hunter2"), "{text}");
        }
    }
}

/// Runs `agent-sync config` with this environment and no other.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(arguments, variables).output().unwrap()
}

fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command.arg("config").args(arguments).env_clear().envs(variables.iter().copied());
    command
}

#[test]
fn the_verb_prints_every_setting_with_its_source() {
    let directory = directory(&[(
        "agent-sync.toml",
        "[sync]\nbatch_size = 7\n\n[databases.eu]\nurl = \"postgres://app:pw@db.example.com/x\"",
    )]);
    let file = directory.path().join("agent-sync.toml").display().to_string();
    let output = run(&["--config", &file], &[("AGENT_SYNC__LOG__FORMAT", "json"), ("DATABASE_URL", "x")]);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    let text = String::from_utf8(output.stdout).unwrap();
    let place = format!("{}/", directory.path().display());
    let expected = r#"[log]
format = "json"  # environment variable AGENT_SYNC__LOG__FORMAT
level = "info"   # default

[capture]
notify = true          # default
configurations = true  # default

[sync]
batch_size = 7             # agent-sync.toml:2
sweep_interval = "30s"     # default
poll_interval = "1s"       # default
probe_interval = "5s"      # default
probe_timeout = "5s"       # default
lock_timeout = "500ms"     # default
statement_timeout = "30s"  # default

[reconcile]
confirm_above = 100  # default

[reconnect]
initial_delay = "100ms"  # default
max_delay = "30s"        # default

[shutdown]
grace_period = "4s"  # default

[admin]
listen = "127.0.0.1:9878"  # default

[databases.eu]
# target = "user app at db.example.com:5432, database x"  # agent-sync.toml:5
# password = "********"                                   # agent-sync.toml:5
url = "********"                                          # agent-sync.toml:5
tls = "require"                                           # default
"#;
    let text = text.replace(&place, "");
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("\n[databases.eu.configurations.columns]\nagent_slug = \"agent_slug\" "), "{text}");
    assert!(text.ends_with("\n# note: DATABASE_URL is ignored: databases are configured (eu)\n"), "{text}");
    toml::from_str::<toml::Table>(&text).expect("the output is TOML");
}

#[test]
fn the_verb_prints_json_by_key() {
    let output = run(&["--json"], &[("DATABASE_URL", URL), ("AGENT_SYNC__SYNC__BATCH_SIZE", "7")]);
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let variable = |name: &str| format!("environment variable {name}");
    assert_eq!(json["log.format"], serde_json::json!({ "value": "auto", "source": "default" }));
    let batch_size = serde_json::json!({ "value": 7, "source": variable("AGENT_SYNC__SYNC__BATCH_SIZE") });
    assert_eq!(json["sync.batch_size"], batch_size);
    let secret = serde_json::json!({ "value": "********", "source": variable("DATABASE_URL") });
    assert_eq!(json["databases.default.url"], secret);
    assert_eq!(json["databases.default.password"], secret);

    let variables = [("DATABASE_URL", URL), ("AGENT_SYNC__DATABASES__EU__URL", URL)];
    let output = run(&["--json"], &variables);
    let note = "agent-sync: DATABASE_URL is ignored: databases are configured (eu)\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), note);
}

#[test]
fn the_verb_exits_64_with_every_mistake_a_line() {
    let output = run(&[], &[("AGENT_SYNC__LOG__FORMAT", "xml"), ("AGENT_SYNC__SYNC__BATCH_SIZE", "0")]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(64), &b""[..]));
    let text = String::from_utf8(output.stderr).unwrap();
    let expected = r#"agent-sync: the settings have 2 mistakes
  because: environment variable AGENT_SYNC__LOG__FORMAT: log.format: expected "auto", "pretty" or "json", found "xml"; for example `AGENT_SYNC__LOG__FORMAT=auto`
    environment variable AGENT_SYNC__SYNC__BATCH_SIZE: sync.batch_size: expected an integer from 1 to 10000, found "0"; for example `AGENT_SYNC__SYNC__BATCH_SIZE=500`
"#;
    assert_eq!(text, expected);
}

#[test]
fn the_check_prints_nothing_and_refuses_what_the_daemon_would_refuse() {
    let directory = directory(&[("rules.toml", "nonsense = 1")]);
    let rules = directory.path().join("rules.toml");
    let database = ("DATABASE_URL", URL);
    for (variables, code, reason) in [
        (&[database][..], 0, ""),
        (&[], 64, "no database is configured"),
        (&[database, ("AGENT_SYNC__SYNC__BATCH_SIZE", "0")], 64, "AGENT_SYNC__SYNC__BATCH_SIZE"),
        (&[database, ("AGENT_SYNC__RULES__FILE", rules.to_str().unwrap())], 64, "are not valid"),
    ] {
        let output = run(&["--check"], variables);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(
            output.stdout.is_empty() && said.contains(reason) && said.is_empty() == (code == 0),
            "{said}"
        );
    }
}

#[test]
fn the_verb_survives_a_reader_that_has_gone() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output =
        command(&[], &[]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

const DOCUMENTED: &str = include_str!("../../config/agent-sync.toml");

#[test]
fn the_documented_file_changes_nothing() {
    let loaded = load(DOCUMENTED, &[]).unwrap();
    let defaults = Settings::load_from(&Sources::default()).unwrap();
    assert_eq!(loaded.settings, defaults.settings);
    let keys = |loaded: &Loaded| loaded.entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&loaded), keys(&defaults));
    for entry in &loaded.entries {
        assert_ne!(entry.source, "default", "{} is not in the file", entry.key);
    }
}

#[test]
fn the_documented_databases_hold_the_defaults_when_they_are_turned_on() {
    let directory = directory(&[
        ("platform_password", "pw"),
        ("supabase_url", "postgres://postgres.project@aws-0-eu.pooler.supabase.com:5432/postgres"),
        ("supabase-ca.crt", ""),
    ]);
    let place = format!("{}/", directory.path().display());
    let on =
        |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned();
    let text = DOCUMENTED.lines().map(on).collect::<Vec<_>>().join("\n");
    let text = text.replace("/run/secrets/", &place).replace("/etc/agent-sync/", &place);
    fs::write(directory.path().join("agent-sync.toml"), text).unwrap();
    let loaded = load_in(&directory, &[]).unwrap();
    assert!(loaded.notes.is_empty() && loaded.settings.rules.file.is_some());

    let url = "postgres://agent_sync:pw@db.example.com:5432/platform?sslmode=verify-full";
    let mut plain = database(url);
    plain.name = "platform".to_owned();
    assert_eq!(loaded.settings.databases["platform"], plain);

    let supabase = &loaded.settings.databases["supabase"];
    assert_eq!(supabase.tls(), Tls::VerifyFull);
    assert!(supabase.tls_root_cert.is_some());
}
