//! One text for each fault (G7): for every injected fault, `status`, `why`, `doctor`, the log,
//! `/status` (which the page shows), `/readyz` and `/metrics` report it with the same remedy, and
//! the remedy, followed literally, repairs it.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use crate::support::http::{address, get, metric};
use crate::support::platform::{EXAMPLE, EXPECTED, connect};
use crate::support::{Daemon, Platform, Said, eventually};

/// An injected fault: its cause, its text, and the form of its remedy.
struct Damage {
    sql: &'static str,
    text: &'static str,
    mending: Mending,
    weight: Weight,
}

enum Mending {
    /// The remedy is `agent-sync install`.
    Install,
    /// The remedy contains statements between these two texts.
    Statements(&'static str, &'static str),
    /// The remedy contains this text, and this statement carries it out.
    Words(&'static str, &'static str),
}

/// The severity of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// The database cannot be used.
    Fatal,
    /// Changes may be missed.
    Misses,
    /// A warning.
    Caution,
    /// An agent has a problem of this kind.
    Agent(&'static str),
}

use Mending::{Install, Statements, Words};
use Weight::{Agent, Caution, Fatal, Misses};

/// Ends the sessions of daemons, so new sessions get the changed defaults.
const RECONNECT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = \
    current_database() AND application_name LIKE 'agent-sync/%'";

const DAMAGES: &[Damage] = &[
    Damage {
        sql: "DROP TRIGGER agent_sync_update ON agents",
        text: "the trigger \"public\".\"agents\".agent_sync_update is missing",
        mending: Install,
        weight: Misses,
    },
    Damage {
        sql: "ALTER TABLE agents DISABLE TRIGGER agent_sync_update",
        text: "the trigger \"public\".\"agents\".agent_sync_update is disabled",
        mending: Install,
        weight: Misses,
    },
    Damage {
        sql: "ALTER FUNCTION agent_sync.capture_agent() SECURITY INVOKER",
        text: "the trigger \"public\".\"agents\".agent_sync_update is SECURITY INVOKER",
        mending: Install,
        weight: Misses,
    },
    Damage {
        sql: "DROP SCHEMA agent_sync CASCADE",
        text: "agent-sync is not installed",
        mending: Install,
        weight: Fatal,
    },
    Damage {
        sql: "DROP TABLE agent_sync.problem CASCADE",
        text: "parts of the install are gone: agent_sync.problem",
        mending: Install,
        weight: Fatal,
    },
    Damage {
        sql: "UPDATE agent_sync.install SET version = 99",
        text: "the installed schema has version 99",
        mending: Words(
            "Run the version of agent-sync that installed it",
            "UPDATE agent_sync.install SET version = {version}",
        ),
        weight: Fatal,
    },
    Damage {
        sql: "REVOKE DELETE ON agent_sync.outbox FROM {role}; REVOKE SELECT (name) ON agents FROM \
            {role}",
        text: "lacks DELETE ON agent_sync.outbox, SELECT (name) ON public.agents",
        mending: Words(
            "as the owner of the tables, or the statements that `agent-sync doctor` lists",
            "GRANT DELETE ON agent_sync.outbox TO {role}; GRANT SELECT (name) ON agents TO {role}",
        ),
        weight: Fatal,
    },
    Damage {
        sql: "ALTER TABLE agents ENABLE ROW LEVEL SECURITY",
        text: "row-level security of public.agents may hide rows",
        mending: Statements("", "; or ALTER ROLE"),
        weight: Misses,
    },
    Damage {
        sql: "ALTER TABLE agents ENABLE ROW LEVEL SECURITY; \
            CREATE POLICY agent_sync_select ON agents FOR SELECT TO {role} USING (true); \
            CREATE POLICY hide ON agents AS RESTRICTIVE USING (slug <> 'x')",
        text: "row-level security of public.agents may hide rows",
        mending: Words(
            "the restrictive policy hide takes rows back, so name the roles that it is for, without",
            "ALTER POLICY hide ON public.agents TO pg_monitor",
        ),
        weight: Misses,
    },
    Damage {
        sql: "ALTER TABLE agents ENABLE ROW LEVEL SECURITY; \
            CREATE POLICY agent_sync_select ON agents FOR SELECT TO pg_monitor USING (true)",
        text: "row-level security of public.agents may hide rows",
        mending: Statements("", "; or ALTER ROLE"),
        weight: Misses,
    },
    Damage {
        sql: "DROP INDEX agent_configurations_agent_slug_idx; {reconnect}",
        text: "no index begins with agent_slug, so every lookup scans public.agent_configurations",
        mending: Statements("", ""),
        weight: Caution,
    },
    Damage {
        sql: "{uninstall}; ALTER TABLE agent_configurations ALTER COLUMN agent_slug TYPE char(20); \
            {install}; {reconnect}",
        text: "agent_slug has the type bpchar, in which no index finds text",
        mending: Statements("Make it text: ", "; then run `agent-sync install`"),
        weight: Caution,
    },
    Damage {
        sql: "{uninstall}; CREATE COLLATION lenient (provider = icu, locale = 'und-u-ks-level2', \
            deterministic = false); ALTER TABLE agent_configurations ALTER COLUMN agent_slug TYPE \
            text COLLATE lenient; {install}; {reconnect}",
        text: "agent_slug has a nondeterministic collation, in which no index finds one text alone",
        mending: Statements(
            "Give it another collation: ",
            "; then run `agent-sync install`",
        ),
        weight: Caution,
    },
    Damage {
        sql: "ALTER DATABASE {database} SET default_transaction_read_only = on; {reconnect}",
        text: "this server is read-only",
        mending: Words(
            "default_transaction_read_only",
            "ALTER DATABASE {database} RESET default_transaction_read_only",
        ),
        weight: Fatal,
    },
    Damage {
        sql: "ALTER TABLE agent_configurations RENAME COLUMN provider_config TO somewhere_else; \
            {save}",
        text: "expected a column provider_config in the table public.agent_configurations",
        mending: Words(
            "Check the names of tables and columns",
            "ALTER TABLE agent_configurations RENAME COLUMN somewhere_else TO provider_config",
        ),
        weight: Fatal,
    },
    Damage {
        sql: "ALTER ROLE {role} NOLOGIN; {reconnect}",
        text: "is not permitted to log in",
        mending: Words(
            "Check the user, the password and pg_hba.conf.",
            "ALTER ROLE {role} LOGIN",
        ),
        weight: Fatal,
    },
    Damage {
        sql: "DELETE FROM agent_configurations; {save}",
        text: "no configuration",
        mending: Statements("brought in sync: `", "`"),
        weight: Agent("missing_configuration"),
    },
    Damage {
        sql: r#"UPDATE agents SET voice_settings = '{"temperature": 9}'"#,
        text: "temperature",
        mending: Words("Correct the values that the reason names.", "{save}"),
        weight: Agent("rejected"),
    },
    Damage {
        sql: "ALTER TABLE agent_configurations ADD CONSTRAINT warm CHECK (temperature > 0.8); \
            {save}",
        text: "constraint warm",
        mending: Words(
            "Correct the row, or the constraint or trigger that refuses it. The daemon retries, at \
            once when the agent is saved.",
            "ALTER TABLE agent_configurations DROP CONSTRAINT warm; {save}",
        ),
        weight: Agent("failed"),
    },
    Damage {
        sql: "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE
              insufficient_privilege\\; END $$;
              CREATE TRIGGER no BEFORE UPDATE ON agent_configurations
                FOR EACH ROW EXECUTE FUNCTION no(); {save}",
        text: "raised by a trigger or function (SQLSTATE 42501",
        mending: Words(
            "Grant it to the role, or declare the function of the trigger SECURITY DEFINER. The \
            daemon retries.",
            "DROP TRIGGER no ON agent_configurations; {save}",
        ),
        weight: Agent("failed"),
    },
];

/// The text for a server that is down.
const DOWN: &str = "error connecting to server";

/// A save of the agent, which may meet a broken capture.
const SAVE: &str = r#"UPDATE agents SET voice_settings = '{"temperature": 0.5}'"#;

/// A fatal fault has one text and a working remedy everywhere.
#[tokio::test]
async fn g7_a_stopped_database_is_one_story_with_a_remedy() {
    one_story(|weight| weight == Fatal).await;
}

/// A finding has one text and a working remedy everywhere.
#[tokio::test]
async fn g7_a_finding_is_one_story_with_a_remedy() {
    one_story(|weight| matches!(weight, Misses | Caution)).await;
}

/// A problem of an agent has one text and a working remedy everywhere.
#[tokio::test]
async fn g7_an_agent_out_of_sync_is_one_story_with_a_remedy() {
    one_story(|weight| matches!(weight, Agent(_))).await;
}

/// GIVEN a database with a daemon in an ordinary role, WHEN a fault is injected, THEN every output
/// reports it with the same remedy, and none does after the remedy.
async fn one_story(wanted: impl Fn(Weight) -> bool) {
    for damage in DAMAGES.iter().filter(|damage| wanted(damage.weight)) {
        let platform = Platform::new().await;
        let (role, database) = (
            format!("story_{}", platform.name()),
            platform.name().to_owned(),
        );
        assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
        let version: i32 = platform
            .value("SELECT version FROM agent_sync.install")
            .await;
        platform.save("a", EXAMPLE).await;
        platform.configure("a").await;
        let url = platform.url_as(&role);
        let told = Told::start(|arguments| {
            let mut command = platform.command(arguments);
            command.env("DATABASE_URL", &url);
            command
        })
        .await;
        platform.becomes("a", EXPECTED).await;
        told.nothing(damage).await;

        let run = async |sql: &str| {
            let sql = sql
                .replace("{role}", &role)
                .replace("{database}", &database)
                .replace("{version}", &version.to_string())
                .replace("{save}", SAVE)
                .replace("{reconnect}", RECONNECT);
            // One transaction for each statement, except inside of a body.
            for statement in sql
                .replace("\\;", "\0")
                .split(';')
                .filter(|sql| !sql.trim().is_empty())
            {
                let install = ["install", "--role", &role];
                match statement.trim() {
                    "{uninstall}" => {
                        assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
                    }
                    "{install}" => assert_eq!(platform.says(&install).await.code, 0),
                    sql => platform.run(&sql.replace('\0', ";")).await,
                }
            }
        };
        run(damage.sql).await;
        let remedy = told.everywhere(damage).await;

        match damage.mending {
            Install => {
                assert!(remedy.contains("Run `agent-sync install`"), "{remedy}");
                assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
            }
            Statements(from, to) => {
                let (_, rest) = if from.is_empty() {
                    ("", &*remedy)
                } else {
                    remedy.split_once(from).unwrap()
                };
                let sql = if to.is_empty() {
                    rest
                } else {
                    rest.split_once(to).unwrap().0
                };
                platform.run(sql).await;
                if remedy.contains("then run `agent-sync install`") {
                    assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
                }
                if damage.weight == Caution {
                    platform.run(RECONNECT).await;
                }
            }
            Words(words, sql) => {
                assert!(remedy.contains(words), "{remedy}");
                run(sql).await;
            }
        }
        told.nothing(damage).await;
        platform
            .save("a", r#"{"voice_id":"after it was mended"}"#)
            .await;
        platform
            .holds(
                "SELECT voice_id IS NOT DISTINCT FROM 'after it was mended' FROM \
                agent_configurations",
            )
            .await;
    }
}

/// GIVEN a daemon, WHEN its server is down, THEN every output reports it with the same remedy.
#[tokio::test]
async fn g7_a_server_that_is_down_is_the_same_story_everywhere() {
    let (cluster, platform) = Platform::on_own_server("").await;
    platform.save("a", EXAMPLE).await;
    let told = Told::start(|arguments| platform.command(arguments)).await;
    let down = Damage {
        sql: "",
        text: DOWN,
        mending: Install,
        weight: Fatal,
    };
    told.nothing(&down).await;
    cluster.control(&["stop", "-m", "fast"]).unwrap();
    assert_eq!(
        told.everywhere(&down).await,
        "See whether the server is up and can be reached from here."
    );
    cluster.control(&["start"]).unwrap();
    told.nothing(&down).await;
    drop(connect(&platform.url).await);
}

/// The outputs about one database.
struct Told<C> {
    command: C,
    daemon: Daemon,
    address: SocketAddr,
}

impl<C: Fn(&[&str]) -> Command> Told<C> {
    async fn start(command: C) -> Self {
        let mut run = command(&["run"]);
        run.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
            .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms")
            .env("AGENT_SYNC__ADMIN__LISTEN", "127.0.0.1:0");
        let daemon = Daemon::start(run);
        daemon.logged("caught up").await;
        let address = address(&daemon).await;
        Self {
            command,
            daemon,
            address,
        }
    }

    /// The remedy that every output gives for the fault.
    async fn everywhere(&self, damage: &Damage) -> String {
        // HTTP first, because the daemon has to find the fault.
        let what = format!("the daemon serves {:?}", damage.text);
        eventually(&what, async || self.served(damage.text).await.is_some()).await;
        let served = self.served(damage.text).await;
        let remedy = served.unwrap();
        // An outage has two log lines (G8); the first one has the error text of a server that is
        // down.
        let text = if damage.text == DOWN { "" } else { damage.text };
        // A thread reads the log and may be late.
        eventually(&format!("the log tells {text:?}"), async || {
            self.logged(text).is_some()
        })
        .await;
        let logged = self.logged(text).unwrap();
        assert_eq!(logged, remedy, "the log, and {:?}", damage.text);
        // While changed tables are read again over a new connection, no daemon leads, and the
        // commands report that as well.
        let agree = async || {
            self.commands(damage)
                .await
                .iter()
                .all(|(_, told)| told.as_ref() == Some(&remedy))
        };
        eventually(
            &format!("the commands and /status agree on {:?}", damage.text),
            agree,
        )
        .await;
        if matches!(damage.weight, Fatal | Misses) {
            let ends = format!("; try: {remedy}\n");
            eventually(&format!("/readyz tells {:?}", damage.text), async || {
                let (code, ready) = get(self.address, "/readyz").await;
                code == 503 && ready.contains(damage.text) && ready.ends_with(&ends)
            })
            .await;
        } else {
            eventually("it is ready", async || {
                get(self.address, "/readyz").await.0 == 200
            })
            .await;
        }
        // One fault may cause several findings.
        let (series, good) = series(damage.weight);
        eventually(&format!("{series} is not {good}"), async || {
            metric(self.address, &series)
                .await
                .is_some_and(|value| (value - good).abs() > f64::EPSILON)
        })
        .await;
        remedy
    }

    /// No output reports it any more.
    async fn nothing(&self, damage: &Damage) {
        let what = format!("the daemon serves {:?} no more", damage.text);
        eventually(&what, async || {
            get(self.address, "/readyz").await.0 == 200 && self.served(damage.text).await.is_none()
        })
        .await;
        let (series, good) = series(damage.weight);
        eventually(&format!("{series} is {good}"), async || {
            metric(self.address, &series)
                .await
                .is_none_or(|value| (value - good).abs() < f64::EPSILON)
        })
        .await;
        let silent = async || {
            self.commands(damage)
                .await
                .iter()
                .all(|(_, told)| told.is_none())
        };
        eventually(&format!("no command reports {:?}", damage.text), silent).await;
    }

    /// The remedy of `/status`, which the page shows.
    async fn served(&self, text: &str) -> Option<String> {
        let (_, body) = get(self.address, "/status").await;
        let status: Value = serde_json::from_str(&body).unwrap();
        let database = &status["databases"][0];
        let empty = Vec::new();
        let listed = |value: &Value| value.as_array().unwrap_or(&empty).clone();
        let mut told = listed(&database["findings"]);
        told.extend(listed(&database["problems"]["listed"]));
        if database["phase"] == "lost" {
            told.push(database["last_error"].clone());
        }
        remedy_of(&told, text)
    }

    /// The remedy in the log, now or earlier.
    fn logged(&self, text: &str) -> Option<String> {
        let mut lines = self.daemon.log();
        lines.retain(|line| line["level"] == "WARN" || line["level"] == "ERROR");
        for line in &mut lines {
            if let (Some(trigger), Some(fault)) = (line["trigger"].as_str(), line["fault"].as_str())
            {
                line["fault"] = format!("the trigger {trigger} is {fault}").into();
            }
        }
        lines.reverse();
        remedy_of(&lines, text)
    }

    /// The remedy of each command.
    async fn commands(&self, damage: &Damage) -> [(&'static str, Option<String>); 3] {
        let status = Said::of((self.command)(&["status", "--json"]))
            .await
            .object();
        let why = Said::of((self.command)(&["why", "a", "--json"])).await;
        let doctor = Said::of((self.command)(&["doctor", "--json"]))
            .await
            .object();
        let not_passed = |notes: &Value| {
            let notes = notes.as_array().unwrap().iter();
            notes
                .filter(|note| note["level"] != "pass" && note["level"] != "skip")
                .cloned()
                .collect::<Vec<_>>()
        };
        // Without an explanation, the reason is on standard error.
        let why = match why.out.lines().next() {
            None => Some(&*why.err)
                .filter(|error| error.contains("because: ") || error.contains("permission"))
                .and_then(|_| remedy_of(&not_passed(&status["trouble"]), damage.text)),
            Some(_) if matches!(damage.weight, Agent(_)) => {
                let story = why.object();
                let text = story["conclusion"].as_str().unwrap();
                story["remedy"]
                    .as_str()
                    .filter(|_| text.contains(damage.text))
                    .map(str::to_owned)
            }
            Some(_) => remedy_of(&not_passed(&why.object()["trouble"]), damage.text),
        };
        [
            (
                "status",
                remedy_of(&not_passed(&status["trouble"]), damage.text),
            ),
            ("why", why),
            (
                "doctor",
                remedy_of(&not_passed(&doctor["checks"]), damage.text),
            ),
        ]
    }
}

/// The remedy of the first object with this text in another field.
fn remedy_of(told: &[Value], text: &str) -> Option<String> {
    let tells = |one: &&Value| {
        let fields = one
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| *key != "remedy");
        fields
            .filter_map(|(_, value)| value.as_str())
            .any(|value| value.contains(text))
    };
    let one = told.iter().find(tells)?;
    Some(
        one["remedy"]
            .as_str()
            .unwrap_or_else(|| panic!("no remedy in {one}"))
            .to_owned(),
    )
}

/// The metric of a fault, and its value without a fault.
fn series(weight: Weight) -> (String, f64) {
    let misses =
        |misses| format!("agent_sync_findings{{database=\"default\",misses_changes=\"{misses}\"}}");
    match weight {
        Fatal => ("agent_sync_up{database=\"default\"}".to_owned(), 1.0),
        Misses => (misses(true), 0.0),
        Caution => (misses(false), 0.0),
        Agent(kind) => (
            format!("agent_sync_problems{{database=\"default\",kind=\"{kind}\"}}"),
            0.0,
        ),
    }
}
