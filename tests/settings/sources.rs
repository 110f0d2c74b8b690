//! Every source of a setting, and their precedence (I3).

use std::path::Path;
use std::time::Duration;

use agent_sync::columns::Column;
use agent_sync::settings::{LogFormat, Settings, Sources};

use super::{URL, directory, environment, load, load_in, source};

#[test]
fn without_any_source_the_defaults_are_in_force() {
    let loaded = Settings::load_from(&Sources::default()).unwrap();
    let settings = &loaded.settings;
    assert_eq!(
        (settings.log.format, settings.log.level.as_str()),
        (LogFormat::Auto, "info")
    );
    assert_eq!(settings.rules.file, None);
    assert!(settings.capture.notify && settings.capture.configurations);
    assert_eq!(settings.sync.batch_size, 500);
    assert_eq!(settings.sync.sweep_interval, Duration::from_secs(30));
    assert_eq!(settings.sync.poll_interval, Duration::from_secs(1));
    assert_eq!(settings.sync.probe_interval, Duration::from_secs(5));
    assert_eq!(settings.sync.probe_timeout, Duration::from_secs(5));
    assert_eq!(settings.sync.lock_timeout, Duration::from_millis(500));
    assert_eq!(settings.sync.statement_timeout, Duration::from_secs(30));
    assert!(!settings.history.enabled && settings.history.max_rows == 10_000);
    assert_eq!(settings.history.keep, Duration::from_secs(30 * 24 * 3600));
    assert_eq!(settings.reconcile.confirm_above, 100);
    assert_eq!(settings.reconnect.initial_delay, Duration::from_millis(100));
    assert_eq!(settings.reconnect.max_delay, Duration::from_secs(10));
    assert_eq!(settings.shutdown.grace_period, Duration::from_secs(4));
    assert_eq!(
        settings.admin.listen,
        Some("127.0.0.1:9878".parse().unwrap())
    );
    assert_eq!(
        settings.admin.socket,
        Path::new("/run/agent-sync/admin.sock")
    );
    assert!(settings.databases.is_empty() && loaded.unused_url.is_none());
    assert!(loaded.entries.iter().all(|entry| entry.source == "default"));
}

#[test]
fn each_source_overrides_the_ones_before_it() {
    let directory = directory(&[
        (
            "agent-sync.toml",
            "[sync]\nbatch_size = 1\nlock_timeout = \"1ms\"\n\n[log]\nlevel = \"warn\"\nformat = \
            \"json\"",
        ),
        (
            "databases.d/10-first.toml",
            "sync.lock_timeout = \"2ms\"\nlog.level = \"debug\"\nlog.format = \"pretty\"",
        ),
        (
            "databases.d/20-second.toml",
            "log.level = \"trace\"\nlog.format = \"pretty\"",
        ),
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
    assert_eq!(
        source(&loaded, "sync.lock_timeout"),
        at("databases.d/10-first.toml:1")
    );
    assert_eq!(
        source(&loaded, "log.level"),
        at("databases.d/20-second.toml:1")
    );
    assert_eq!(
        source(&loaded, "log.format"),
        "environment variable AGENT_SYNC__LOG__FORMAT"
    );
    assert_eq!(source(&loaded, "sync.poll_interval"), "default");
}

/// `RUST_LOG` is a source of the level, above the files and below the variable of the setting.
#[test]
fn rust_log_sets_the_level_below_the_variable_of_the_setting() {
    let file = "log.level = \"warn\"";
    let rust_log = ("RUST_LOG", "agent_sync=debug");
    let loaded = load(file, &[rust_log]).unwrap();
    assert_eq!(loaded.settings.log.level, "agent_sync=debug");
    assert_eq!(
        source(&loaded, "log.level"),
        "environment variable RUST_LOG"
    );
    for name in ["AGENT_SYNC__LOG__LEVEL", "AGENT_SYNC__log__level"] {
        let loaded = load(file, &[rust_log, (name, "error")]).unwrap();
        assert_eq!(loaded.settings.log.level, "error");
    }
    let refused = load(file, &[("RUST_LOG", "loud")]).unwrap_err();
    assert!(
        refused.contains("environment variable RUST_LOG"),
        "{refused}"
    );
}

/// The file is that of the command line, else of the environment, else the default.
#[test]
fn the_file_is_from_the_arguments_the_environment_or_default() {
    let directory = directory(&[
        ("typed.toml", "sync.batch_size = 1"),
        ("variable.toml", "sync.batch_size = 2"),
        ("default.toml", "sync.batch_size = 3"),
    ]);
    let path = |name: &str| directory.path().join(name);
    let variable = path("variable.toml");
    let batch_size = |typed: Option<&Path>, variable: &str| {
        let env = environment(&[("AGENT_SYNC_CONFIG", variable)]);
        let loaded =
            Settings::load_from(&Sources::new(typed, Some(&path("default.toml")), env)).unwrap();
        loaded.settings.sync.batch_size
    };
    assert_eq!(
        batch_size(Some(&path("typed.toml")), variable.to_str().unwrap()),
        1
    );
    assert_eq!(batch_size(None, variable.to_str().unwrap()), 2);
    assert_eq!(batch_size(None, ""), 3);
}

/// A named file must exist; the default one need not.
#[test]
fn a_named_file_must_exist_and_the_default_need_not() {
    let directory = directory(&[("databases.d/one.toml", "databases.one.url = \"host=/tmp\"")]);
    let missing = directory.path().join("missing.toml");
    let loaded = Settings::load_from(&Sources::new(None, Some(&missing), [])).unwrap();
    assert!(
        loaded.settings.databases.contains_key("one"),
        "drop-ins are read all the same"
    );

    let error = |sources: Sources| Settings::load_from(&sources).unwrap_err().to_string();
    let reason = "cannot be read: No such file or directory (os error 2); \
        name a settings file that exists and that this user may read";
    let file = missing.display();
    assert_eq!(
        error(Sources::new(Some(&missing), None, [])),
        format!("{file} (--config): {reason}")
    );
    let env = environment(&[("AGENT_SYNC_CONFIG", missing.to_str().unwrap())]);
    let expected = format!("{file} (environment variable AGENT_SYNC_CONFIG): {reason}");
    assert_eq!(error(Sources::new(None, None, env)), expected);
}

#[test]
fn a_default_file_that_may_or_may_not_exist_is_not_passed_over() {
    let directory = directory(&[("file", "")]);
    let unreachable = directory.path().join("file/agent-sync.toml");
    let error = Settings::load_from(&Sources::new(None, Some(&unreachable), [])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("agent-sync.toml: cannot be read: Not a directory"),
        "{error}"
    );
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
            (
                "AGENT_SYNC__DATABASES__EU_1__CONFIGURATIONS__COLUMNS__AGENT_SLUG",
                "slug",
            ),
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
    assert_eq!(
        database.configurations.columns.mapped[Column::AgentName],
        "agent_name"
    );
}

/// `DATABASE_URL` alone defines the database `default`.
#[test]
fn database_url_alone_defines_the_database_default() {
    let loaded = load("", &[("DATABASE_URL", URL)]).unwrap();
    assert_eq!(
        loaded.settings.databases.keys().collect::<Vec<_>>(),
        ["default"]
    );
    assert_eq!(
        source(&loaded, "databases.default.url"),
        "environment variable DATABASE_URL"
    );
    assert!(loaded.unused_url.is_none() && loaded.notes.is_empty());

    let loaded = load(
        "[databases.default]\nconnect_timeout = \"1s\"",
        &[("DATABASE_URL", URL)],
    )
    .unwrap();
    let database = &loaded.settings.databases["default"];
    assert_eq!(database.connect_timeout, Duration::from_secs(1));
    assert_eq!(
        database.target(),
        "user app at db.example.com:5432, database platform"
    );

    assert!(
        load("", &[("DATABASE_URL", "")])
            .unwrap()
            .settings
            .databases
            .is_empty()
    );
}

/// `DATABASE_URL` is ignored beside other databases, and a note says so.
#[test]
fn database_url_is_ignored_beside_other_databases() {
    let loaded = load("databases.eu.url = \"host=/tmp\"", &[("DATABASE_URL", URL)]).unwrap();
    assert_eq!(loaded.settings.databases.keys().collect::<Vec<_>>(), ["eu"]);
    let note = loaded.unused_url.unwrap();
    let note = note.split_once(": eu (").unwrap();
    assert_eq!(
        note.0,
        "DATABASE_URL is set and not used, because the settings name databases"
    );
    assert!(note.1.ends_with("agent-sync.toml:1)"), "{}", note.1);

    let loaded = load(
        "databases.default.url = \"host=/tmp\"",
        &[("DATABASE_URL", URL)],
    )
    .unwrap();
    assert_eq!(loaded.settings.databases["default"].target(), "/tmp:5432");
    let note = loaded.unused_url.unwrap();
    let note = note.split_once(" (").unwrap();
    assert_eq!(
        note.0,
        "DATABASE_URL is set and not used, because the settings have databases.default.url"
    );
    assert!(note.1.ends_with("agent-sync.toml:1)"), "{}", note.1);
}
