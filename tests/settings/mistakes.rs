//! Every mistake with its exact text, all of them at once, without a secret (G11).

use agent_sync::settings::{Settings, Sources};

use super::config::run;
use super::{URL, directory, environment, load, load_in};

/// Every mistake names its location, the expected value and the remedy.
#[test]
fn every_mistake_says_where_it_is_and_what_to_do() {
    let mut cases = 0;
    let mut wrong = Vec::new();
    for case in include_str!("../cases/settings/mistakes.txt")
        .split("\n\n")
        .skip(1)
    {
        let lines = |mark: &str| {
            case.lines()
                .filter_map(|line| line.strip_prefix(mark))
                .collect::<Vec<_>>()
        };
        let file: Vec<_> = case
            .lines()
            .filter(|line| !line.starts_with("$ ") && !line.starts_with("=> "))
            .collect();
        let variables: Vec<_> = lines("$ ")
            .iter()
            .map(|line| line.split_once('=').unwrap())
            .collect();
        let found = load(&file.join("\n"), &variables)
            .err()
            .unwrap_or_else(|| "no mistake at all".to_owned());
        assert!(!found.contains("hunter2"), "a secret in: {found}");
        if found != lines("=> ").join("\n") {
            wrong.push(format!("{case}\n   {}", found.replace('\n', "\n   ")));
        }
        cases += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(cases >= 20, "the cases are not read");
}

/// A misplaced password in a connection string is refused and never shown.
#[test]
fn s14_a_misplaced_password_is_refused_and_not_shown() {
    const SOURCE: &str = "environment variable DATABASE_URL: databases.default.url: ";
    let (mut refused, mut taken, mut wrong) = (0, 0, Vec::new());
    for case in include_str!("../cases/settings/connection_strings.txt")
        .split("\n\n")
        .skip(1)
    {
        let (url, expected) = case.trim_end().split_once('\n').unwrap();
        let loaded = load("", &[("DATABASE_URL", url)]);
        let told = loaded
            .as_ref()
            .map_or_else(Clone::clone, |loaded| format!("{loaded:#?}"));
        assert!(!told.contains("hunter2"), "a secret in: {told}");
        let found = match loaded {
            Ok(loaded) => {
                taken += 1;
                format!("== {}", loaded.settings.databases["default"].target())
            }
            Err(report) => {
                refused += 1;
                format!("=> {}", report.strip_prefix(SOURCE).unwrap())
            }
        };
        if found != expected {
            wrong.push(format!("{url}\n   {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(
        refused >= 45 && taken >= 10,
        "{refused} and {taken} cases are read"
    );
}

#[test]
fn all_mistakes_of_all_sources_come_out_together() {
    let directory = directory(&[
        (
            "agent-sync.toml",
            "[log]\nformat = \"xml\"\n[databases.a]\nurl = \"hunter2\"\n[databases.b]",
        ),
        (
            "databases.d/c.toml",
            "[databases.c]\nurl = \"host=/tmp\"\ntls = true",
        ),
    ]);
    let variables = [
        ("AGENT_SYNC__SYNC__BATCH_SIZE", "0"),
        ("AGENT_SYNC__LOG__FORMAT", "json"),
    ];
    let found = load_in(&directory, &variables).unwrap_err();
    let places: Vec<_> = found
        .lines()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
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
        assert_eq!(
            database.connect_config().get_password(),
            Some(&b"hunter2"[..])
        );
        for text in [
            format!("{sources:?}"),
            format!("{loaded:#?}"),
            database.target(),
        ] {
            assert!(!text.contains("hunter2"), "{text}");
        }
        for json in [&[][..], &["--json"]] {
            let output = run(json, &variables);
            assert!(output.status.success(), "{output:?}");
            let text = format!("{output:?}");
            assert!(
                text.contains("********") && !text.contains("hunter2"),
                "{text}"
            );
        }
    }
}
