//! Commands on a fleet with a false server: the answers to them are bounded, too (S33).

use std::process::Command;

use crate::support::false_server::{FalseServer, Way, message};
use crate::support::platform::TABLES;
use crate::support::{Platform, Said, tcp_cluster};

/// The most address space of a command, in KiB.
const MEMORY: &str = "1048576";

/// GIVEN a server that sends rows without end, and then a row of a gigabyte, WHEN a command asks it
/// and another one, THEN the command needs little memory, says what is wrong with the one, and
/// shows the other.
#[tokio::test]
async fn s33_a_false_server_hides_no_other_database_from_a_command() {
    let platform = Platform::installed().await;
    let behind = Platform::with_tables(tcp_cluster(), TABLES).await;
    behind.install();
    let server = FalseServer::start(Way::Tcp, tcp_cluster().port(), move |row| {
        let columns = usize::from(*row.body.get(1)?);
        let nulls = [0xff; 4].repeat(columns.saturating_sub(1));
        let value = [&1_000_000_u32.to_be_bytes()[..], &vec![b'x'; 1_000_000]].concat();
        let large = message(b'D', &[&row.body[..2], &value, &nulls].concat());
        (row.tag == b'D').then(|| [large.repeat(20), b"D\x40\0\0\0".to_vec()].concat())
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent-sync.toml");
    let settings = format!(
        "[databases.false]\nurl = '{}'\n[databases.true]\nurl = '{}'\n",
        server.url(behind.name()),
        platform.url
    );
    std::fs::write(&path, settings).unwrap();
    for (arguments, most, other) in [
        ("status", 16 << 20, "true no daemon"),
        ("databases", 16 << 20, "true: no daemon"),
        ("wait --timeout 5s", 16 << 20, "database true: "),
        ("doctor", 16 << 20, "true"),
        ("check", 256 << 20, "true"),
    ] {
        let mut command = Command::new("/bin/sh");
        let script = format!(r#"ulimit -v {MEMORY} && exec "$1" {arguments} --config "$2""#);
        command
            .env_clear()
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_agent-sync")])
            .arg(&path);
        let said = Said::of(command).await;
        let text = format!("{} {}", said.out, said.err);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let cause = format!("the server sends more than {most} bytes in one answer");
        assert!(text.contains(&cause), "{arguments}: {said:?}");
        assert!(text.contains(other), "{arguments}: {said:?}");
        assert_eq!(said.code, 69, "{arguments}: {said:?}");
    }
}
