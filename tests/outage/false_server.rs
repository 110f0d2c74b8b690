//! A false server, at a port or a Unix socket: whatever it sends costs its own connection, and
//! neither the process nor another database (G5, G12, G11).

use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::false_server::{FalseServer, Message, Way, changed_row, message};
use crate::support::platform::{EXAMPLE, EXPECTED, TABLES};
use crate::support::{Daemon, Platform, eventually, http, tcp_cluster};

/// A daemon with one true database and several of false servers.
struct Fleet {
    daemon: Daemon,
    platform: Platform,
    counts: Vec<Arc<AtomicUsize>>,
    behind: Vec<(FalseServer, Platform)>,
    _folder: tempfile::TempDir,
}

/// The most memory of a process, in KiB: more is refused by the kernel.
const NO_LIMIT: &str = "unlimited";

impl Fleet {
    /// A database of a false server for each change.
    async fn start<C>(way: Way, changes: Vec<C>, memory: &str) -> Self
    where
        C: Fn(&Message<'_>) -> Option<Vec<u8>> + Send + Sync + 'static,
    {
        let platform = Platform::installed().await;
        let mut settings = format!("[databases.true]\nurl = '{}'\n", platform.url);
        let (mut servers, mut counts) = (Vec::new(), Vec::new());
        for (number, change) in changes.into_iter().enumerate() {
            let behind = Platform::with_tables(tcp_cluster(), TABLES).await;
            behind.install();
            behind.save("a", EXAMPLE).await;
            let count = Arc::new(AtomicUsize::new(0));
            counts.push(Arc::clone(&count));
            let server = FalseServer::start(way, tcp_cluster().port(), move |message| {
                let bytes = change(message)?;
                count.fetch_add(1, Ordering::Relaxed);
                Some(bytes)
            })
            .await;
            let url = server.url(behind.name());
            writeln!(settings, "[databases.false_{number}]\nurl = '{url}'").unwrap();
            servers.push((server, behind));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent-sync.toml");
        std::fs::write(&path, settings).unwrap();
        let mut command = Command::new("/bin/sh");
        command.env_clear().args([
            "-c",
            r#"ulimit -v "$1" && exec "$2" run --config "$3""#,
            "sh",
            memory,
            env!("CARGO_BIN_EXE_agent-sync"),
        ]);
        command
            .arg(&path)
            .env("AGENT_SYNC__ADMIN__LISTEN", "127.0.0.1:0")
            .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
            .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
        Self {
            daemon: Daemon::start(command),
            platform,
            counts,
            behind: servers,
            _folder: folder,
        }
    }

    /// Waits until each false server has counts `times` messages, and saves in the true database
    /// after that.
    async fn goes_on(&mut self, times: usize) {
        for (number, counts) in self.counts.iter().enumerate() {
            let what = format!("false server {number} has changed {times} messages");
            let daemon = &self.daemon;
            let ends = || !daemon.lines("thread ").is_empty() || !daemon.lines("memory").is_empty();
            let enough = || counts.load(Ordering::Relaxed) >= times;
            eventually(&what, async || enough() || ends()).await;
            assert!(!ends(), "the process has ended");
        }
        self.platform.configure("a").await;
        self.platform.save("a", EXAMPLE).await;
        self.platform.becomes("a", EXPECTED).await;
        assert!(self.daemon.is_running());
        assert_eq!(self.daemon.lines("thread "), [""; 0], "no panic");
    }
}

/// One row of so many is changed.
const OTHERS: usize = 4;

const NAME: u32 = 19;
const TEXT: u32 = 25;
const FLOAT8: u32 = 701;
const INT4: u32 = 23;
const INT8: u32 = 20;
const TIMESTAMPTZ: u32 = 1184;
/// The arrays of `tid`, `xid` and `oid`.
const ARRAYS: [u32; 3] = [1010, 1011, 1028];

/// GIVEN servers whose numbers and times are NaN, infinite, negative or out of any range, WHEN the
/// daemon leads there, THEN it goes on, and another database is in sync.
#[tokio::test]
async fn g5_numbers_of_a_false_server_end_no_process() {
    for way in Way::ALL {
        // The first NaN ends a connection, so each false server lets others pass.
        let mut kinds: Vec<(u32, Vec<u8>, usize)> = (0..OTHERS)
            .map(|turn| (FLOAT8, f64::NAN.to_be_bytes().to_vec(), turn))
            .collect();
        for number in [f64::INFINITY, f64::MIN, -1.0] {
            kinds.push((FLOAT8, number.to_be_bytes().to_vec(), OTHERS));
        }
        for number in [i64::MIN, i64::MAX] {
            kinds.push((INT8, number.to_be_bytes().to_vec(), OTHERS));
            kinds.push((TIMESTAMPTZ, number.to_be_bytes().to_vec(), OTHERS));
        }
        for number in [i32::MIN, i32::MAX] {
            kinds.push((INT4, number.to_be_bytes().to_vec(), OTHERS));
        }
        let changes = kinds.into_iter().map(|(kind, bytes, turn)| {
            let seen = AtomicUsize::new(0);
            move |message: &Message<'_>| {
                if message.tag != b'D' || !message.types.contains(&kind) {
                    return None;
                }
                let number = seen.fetch_add(1, Ordering::Relaxed) % OTHERS;
                let is_due = turn == OTHERS || turn == number;
                is_due.then(|| changed_row(message, |of, _| (of == kind).then(|| bytes.clone())))?
            }
        });
        let mut fleet = Fleet::start(way, changes.collect(), NO_LIMIT).await;
        fleet.goes_on(6).await;
    }
}

/// GIVEN servers that send large notifications, ever new parameters or a large answer without end,
/// WHEN the daemon leads there, THEN it needs little memory, and another database is in sync.
#[tokio::test]
async fn g12_what_a_false_server_sends_beside_answers_is_bounded() {
    for way in Way::ALL {
        type Bytes = fn(usize) -> Vec<u8>;
        fn note(number: usize, length: usize) -> Vec<u8> {
            let text = number.to_string() + &"x".repeat(length);
            message(
                b'A',
                &[b"\0\0\0\x01agent_sync\0", text.as_bytes(), b"\0"].concat(),
            )
        }
        let kinds: [Bytes; 5] = [
            |number| note(number, 8_000_000),
            |number| note(number, 16_000),
            |number| {
                let name = number.to_string() + &"x".repeat(1_000_000);
                message(b'S', &[name.as_bytes(), b"\0value\0"].concat())
            },
            |number| message(b'S', format!("name-{number}\0value\0").as_bytes()).repeat(2),
            |_| {
                message(
                    b'D',
                    &[b"\0\x01\x03\x93\x87\0", &vec![b'x'; 60_000_000][..]].concat(),
                )
            },
        ];
        let changes = kinds.into_iter().map(|bytes| {
            let sent = AtomicUsize::new(0);
            move |end: &Message<'_>| {
                // Before the end of each answer of a session.
                (end.tag == b'C').then(|| {
                    let mut all = Vec::new();
                    for _ in 0..4 {
                        all.extend(bytes(sent.fetch_add(1, Ordering::Relaxed)));
                    }
                    all.extend(message(end.tag, end.body));
                    all
                })
            }
        });
        let mut fleet = Fleet::start(way, changes.collect(), NO_LIMIT).await;
        fleet.goes_on(10).await;
        let peak = fleet.daemon.peak_memory_kib();
        assert!(peak < 48 * 1024, "the daemon needed {peak} KiB");
    }
}

/// GIVEN servers whose arrays announce more elements than they bring, WHEN the daemon reads them
/// with 4 GiB of address space, THEN it goes on, and another database is in sync.
#[tokio::test]
async fn g12_an_array_of_a_false_server_reserves_no_memory() {
    for way in Way::ALL {
        let changes = ARRAYS.map(|kind| {
            move |message: &Message<'_>| {
                let has = message.tag == b'D' && message.types.contains(&kind);
                let array = |of, value: Option<&[u8]>| {
                    let mut array = value
                        .filter(|array| of == kind && array.len() > 12)?
                        .to_vec();
                    array[12..16].copy_from_slice(&i32::MAX.to_be_bytes());
                    Some(array)
                };
                has.then(|| changed_row(message, array))?
            }
        });
        let mut fleet = Fleet::start(way, changes.into(), "4194304").await;
        fleet.goes_on(2).await;
    }
}

/// An error of a server with these fields.
fn refusal(fields: &[(u8, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, text) in fields {
        body.extend([&[*field], text.as_bytes(), b"\0"].concat());
    }
    message(b'E', &[&body[..], b"\0"].concat())
}

/// GIVEN servers whose texts are long, WHEN the daemon leads there, THEN each line of its log and
/// each text of its status is bounded, and so is its memory.
#[tokio::test]
async fn g12_a_text_of_a_false_server_is_short_wherever_it_stands() {
    for way in Way::ALL {
        type Answer = Box<dyn Fn(&Message<'_>) -> Option<Vec<u8>> + Send + Sync>;
        /// Names of roles, tables and others, of this length.
        fn names(length: usize) -> Answer {
            Box::new(move |message| {
                let name = |of, value: Option<&[u8]>| {
                    let name = value.filter(|_| of == NAME || of == TEXT)?;
                    let is_role = name == b"postgres" || name.starts_with(b"platform_");
                    is_role.then(|| vec![1; length])
                };
                let changed = changed_row(message, name)?;
                (changed.len() > length).then_some(changed)
            })
        }
        /// Errors with long texts, with this code.
        fn errors(code: &'static str) -> Answer {
            Box::new(move |message| {
                let long = "\u{1}".repeat(200_000);
                let fields = [(b'M', &*long), (b't', &long), (b'n', "name")];
                let head = [(b'S', "ERROR"), (b'C', code)];
                let which = usize::from(code.len() > 5);
                (message.tag == b'C')
                    .then(|| refusal(&[&head[..], &fields[which..=which]].concat()))
            })
        }
        let long_code = String::leak("P".repeat(200_000));
        let answers = [
            names(20_000),
            names(900_000),
            names(8_000_000),
            errors("XX000"),
            errors("23505"),
            errors("22001"),
            errors(long_code),
        ];
        let mut fleet = Fleet::start(way, answers.into(), NO_LIMIT).await;
        fleet.goes_on(3).await;
        for line in fleet.daemon.log() {
            for (field, text) in line.as_object().unwrap() {
                let length = text.as_str().map_or(0, str::len);
                assert!(length <= 4200, "{field}: {length} bytes");
            }
        }
        let peak = fleet.daemon.peak_memory_kib();
        assert!(peak < 96 * 1024, "the daemon needed {peak} KiB");
    }
}

/// GIVEN servers that put the password of the daemon into a field of an error, at the login or
/// later, WHEN the daemon leads there, THEN its log has the error and not the password; and a guess
/// in an error of another database is not masked.
#[tokio::test]
async fn g11_the_password_is_masked_in_the_errors_of_a_server() {
    for way in Way::ALL {
        const PASSWORD: &str = "s3cret-word";
        let kinds = [
            (b'R', b'M', "28P01"),
            (b'C', b'M', "XX000"),
            (b'C', b't', "23505"),
            (b'C', b'n', "22001"),
            (b'C', b'C', "s3cret-word"),
        ];
        let changes = kinds.map(|(tag, field, code)| {
            move |message: &Message<'_>| {
                let text = format!("it is {PASSWORD}, {PASSWORD}");
                let fields = [(b'S', "ERROR"), (b'C', code), (b'M', "no"), (field, &text)];
                let (last, head) = fields.split_last()?;
                let head = head.iter().filter(|(of, _)| *of != field || field == b'C');
                let last = Some(last).filter(|_| field != b'C');
                let fields: Vec<_> = head.chain(last).copied().collect();
                (message.tag == tag).then(|| refusal(&fields))
            }
        });
        let mut fleet = Fleet::start(way, changes.into(), NO_LIMIT).await;
        fleet.goes_on(3).await;
        let lines = fleet.daemon.log();
        let is_told = |text: &str| lines.iter().any(|line| line.to_string().contains(text));
        assert!(is_told("it is ********, ********"));
        assert!(is_told("SQLSTATE ********"));
        assert!(!is_told(PASSWORD));
        // The word is the password of other databases, and its server must not learn that.
        let platform = &fleet.platform;
        platform
            .run(&format!(
                "ALTER TABLE agent_configurations ADD CONSTRAINT \"{PASSWORD}\" \
                CHECK (agent_slug <> 'guess' OR agent_name IS NULL)"
            ))
            .await;
        platform.configure("guess").await;
        platform.save("guess", EXAMPLE).await;
        platform
            .holds(&format!(
                "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE detail LIKE '%{PASSWORD}%')"
            ))
            .await;
    }
}

/// The columns of the driver's query for a type.
const OF_A_TYPE: [u32; 7] = [NAME, 18, 26, 26, 26, NAME, 26];

/// A description of rows, with more columns of this name and type.
fn with_columns(description: &[u8], number: usize, name: &str, of: u32) -> Vec<u8> {
    let count = u16::from_be_bytes([description[0], description[1]]);
    let count = count + u16::try_from(number).unwrap();
    let mut body = [&count.to_be_bytes(), &description[2..]].concat();
    for _ in 0..number {
        body.extend([name.as_bytes(), &[0; 7], &of.to_be_bytes(), &[0; 8]].concat());
    }
    message(b'T', &body)
}

/// A row, with so many nulls more.
fn with_nulls(row: &[u8], number: usize) -> Vec<u8> {
    let count = u16::from_be_bytes([row[0], row[1]]) + u16::try_from(number).unwrap();
    let nulls = vec![0xff; 4 * number];
    message(b'D', &[&count.to_be_bytes(), &row[2..], &nulls].concat())
}

/// The answer to a query for a type: an array of this name, with an element of the next type.
fn a_type(name: &str, element: u32) -> Vec<u8> {
    let length = u32::try_from(name.len()).unwrap().to_be_bytes();
    let mut row = [
        b"\0\x07",
        &length[..],
        name.as_bytes(),
        b"\0\0\0\x01b\0\0\0\x04",
    ]
    .concat();
    row.extend(element.to_be_bytes());
    row.extend(b"\xff\xff\xff\xff\0\0\0\x04\0\0\0\0\0\0\0\x06public\0\0\0\x04\0\0\0\0");
    [message(b'D', &row), message(b'C', b"SELECT 1\0")].concat()
}

/// GIVEN a server whose statements have columns of ever other types, each an array of the next
/// one, WHEN the daemon leads there, THEN it asks for no type, and both databases are in sync.
#[tokio::test]
async fn g5_types_of_a_false_server_overflow_no_stack() {
    for way in Way::ALL {
        let asked = Arc::new(AtomicUsize::new(0));
        let (questions, next) = (Arc::clone(&asked), AtomicU32::new(900_000));
        let change = move |answer: &Message<'_>| match answer.tag {
            b'C' if answer.types == OF_A_TYPE => {
                questions.fetch_add(1, Ordering::Relaxed);
                Some(a_type("t", next.fetch_add(1, Ordering::Relaxed) + 1))
            }
            _ if answer.types == OF_A_TYPE => None,
            b'T' => {
                let of = next.fetch_add(1, Ordering::Relaxed) + 1;
                Some(with_columns(answer.body, 1, "more", of))
            }
            b'D' => Some(with_nulls(answer.body, 1)),
            _ => None,
        };
        let mut fleet = Fleet::start(way, vec![change], NO_LIMIT).await;
        fleet.goes_on(100).await;
        let (_, behind) = &fleet.behind[0];
        behind.configure("a").await;
        behind.becomes("a", EXPECTED).await;
        assert_eq!(asked.load(Ordering::Relaxed), 0, "questions for types");
    }
}

/// GIVEN servers that describe statements with types of long names, with long names of columns or
/// with many columns, WHEN the daemon leads there, THEN it needs little memory, and another
/// database is in sync.
#[tokio::test]
async fn g12_the_descriptions_of_a_false_server_are_bounded() {
    for way in Way::ALL {
        let name: &'static str = String::leak("x".repeat(4_000_000));
        let kinds = [(1, "", 900_000), (1, name, TEXT), (3000, "", TEXT)];
        let changes = kinds.map(|(number, column, of)| {
            let next = AtomicU32::new(of);
            move |answer: &Message<'_>| {
                let other = || next.fetch_add(u32::from(of != TEXT), Ordering::Relaxed);
                match answer.tag {
                    b'C' if answer.types == OF_A_TYPE => {
                        let element = if other() % 4 == 0 { TEXT } else { other() };
                        Some(a_type(name, element))
                    }
                    _ if answer.types == OF_A_TYPE => None,
                    b'T' => Some(with_columns(answer.body, number, column, other())),
                    b'D' => Some(with_nulls(answer.body, number)),
                    _ => None,
                }
            }
        });
        let mut fleet = Fleet::start(way, changes.into(), NO_LIMIT).await;
        fleet.goes_on(10).await;
        let peak = fleet.daemon.peak_memory_kib();
        assert!(peak < 64 * 1024, "the daemon needed {peak} KiB");
    }
}

/// GIVEN servers that send notices, notifications, parameters and fields of errors without end,
/// WHEN the daemon leads there, THEN a change of another database is applied within 2 s.
#[tokio::test]
async fn g12_a_flood_leaves_another_database_its_time() {
    for way in Way::ALL {
        let error = [&b"SERROR\0CXX000\0"[..], &b"M\0".repeat(4_000_000), b"\0"];
        let floods = [
            message(b'N', b"").repeat(800_000),
            message(b'A', b"\0\0\0\x01x\0\0").repeat(200_000),
            message(b'S', b"TimeZone\0UTC\0").repeat(50_000),
            message(b'E', &error.concat()),
        ];
        let changes = floods.map(|flood| {
            move |end: &Message<'_>| {
                (end.tag == b'C').then(|| [&flood[..], &message(end.tag, end.body)].concat())
            }
        });
        let mut fleet = Fleet::start(way, changes.into(), NO_LIMIT).await;
        fleet.goes_on(10).await;
        let mut fastest = Duration::MAX;
        for slug in ["b", "c", "d", "e", "f"] {
            fleet.platform.configure(slug).await;
            let start = Instant::now();
            fleet.platform.save(slug, EXAMPLE).await;
            fleet.platform.becomes(slug, EXPECTED).await;
            fastest = fastest.min(start.elapsed());
        }
        assert!(fastest < Duration::from_secs(2), "{fastest:?}");
    }
}

/// GIVEN a server whose answer to a claim has more slugs than were asked for, WHEN the daemon leads
/// there, THEN that connection ends with the cause, and another database is in sync.
#[tokio::test]
async fn s35_more_slugs_than_a_claim_asks_for_end_the_connection() {
    for way in Way::ALL {
        let more = |row: &Message<'_>| {
            let with_slug = |number: usize| {
                changed_row(row, |_, value| {
                    (value? == b"a").then(|| format!("a{number}").into_bytes())
                })
            };
            let first = with_slug(0)?;
            let has_slug = first != message(row.tag, row.body);
            has_slug.then(|| {
                (0..2_000)
                    .filter_map(with_slug)
                    .collect::<Vec<_>>()
                    .concat()
            })
        };
        let mut fleet = Fleet::start(way, vec![more], NO_LIMIT).await;
        fleet.goes_on(1).await;
        let daemon = &fleet.daemon;
        eventually("the cause is told", async || {
            let is_cause = |line: &serde_json::Value| {
                let cause = line["cause"].as_str().unwrap_or_default();
                cause.starts_with("expected at most ") && cause.contains(" slugs in an answer")
            };
            daemon.log().iter().any(is_cause)
        })
        .await;
    }
}

/// GIVEN a server that puts the password of the daemon into its version, WHEN the daemon leads
/// there, THEN its status has the version without the password.
#[tokio::test]
async fn g11_the_password_is_masked_in_the_version_of_a_server() {
    for way in Way::ALL {
        let change = |status: &Message<'_>| {
            let is_version = status.tag == b'S' && status.body.starts_with(b"server_version\0");
            is_version.then(|| message(b'S', b"server_version\x0016.4 s3cret-word\0"))
        };
        let mut fleet = Fleet::start(way, vec![change], NO_LIMIT).await;
        fleet.goes_on(1).await;
        let address = http::address(&fleet.daemon).await;
        eventually("the status has the version", async || {
            let (_, status) = http::get(address, "/status").await;
            assert!(!status.contains("s3cret-word"), "{status}");
            status.contains("16.4 ********")
        })
        .await;
    }
}
