//! The work of a proof by SCRAM that a server asks for (S32).

use std::fmt::Write as _;

use agent_sync::session::SessionError;
use agent_sync_testbed::{Cluster, Options};
use sha2::{Digest as _, Sha256};

use crate::outage::connection::{database, session};
use crate::support::false_server::{FalseServer, Way, message};
use crate::support::tcp_cluster;

/// A false server whose proof takes so many iterations.
async fn asking_for(way: Way, iterations: u32) -> FalseServer {
    FalseServer::start(way, tcp_cluster().port(), move |told| {
        let first = format!("r=nonce,s=c2FsdA==,i={iterations}");
        let ok = told.tag == b'R' && told.body == [0; 4];
        ok.then(|| {
            let method = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
            let first = [b"\0\0\0\x0b", first.as_bytes()].concat();
            [method, message(b'R', &first)].concat()
        })
    })
    .await
}

/// GIVEN a server that asks for many iterations, WHEN a session connects, THEN it computes none of
/// them, and says what is permitted and what to do.
#[tokio::test]
async fn s32_a_server_that_asks_for_many_iterations_is_refused() {
    for way in Way::ALL {
        for (password, iterations, most) in [
            ("s3cret-word".to_owned(), 65_537, 65_536),
            ("s3cret-word".to_owned(), u32::MAX, 65_536),
            ("long".repeat(1000), 4096, 3912),
        ] {
            let server = asking_for(way, iterations).await;
            let url = server.url("postgres").replace("s3cret-word", &password);
            let error = session(&database(&url, &[])).await.unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, SessionError::HeavyScram(_)), "{text}");
            for part in [format!("at most {most}"), format!("asks for {iterations}")] {
                assert!(text.contains(&part), "{text}");
            }
            assert!(error.remedy().contains("scram_iterations"));
        }
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let block = |with: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(std::iter::repeat(0));
        key.take(64).map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([&block(0x36)[..], text].concat());
    Sha256::digest([&block(0x5c)[..], &inner].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |mut text: String, byte: &u8| {
        write!(text, "{byte:02x}").unwrap();
        text
    };
    bytes.iter().fold(String::new(), digit)
}

/// The most iterations with a short password, and the default of PostgreSQL with a long one, are
/// computed, and several sessions at once take turns.
#[tokio::test]
async fn s32_a_server_at_the_limit_is_taken() {
    let cluster = Cluster::start(Options {
        tcp: true,
        settings: "hba_file = 'pg_hba.conf'",
        files: &[(
            "pg_hba.conf",
            "local all all trust\nhost all all samehost scram-sha-256\n",
        )],
    })
    .unwrap();
    let admin = session(&database(&cluster.url("postgres"), &[]))
        .await
        .unwrap();
    let long = "x".repeat(3831);
    for (role, password, iterations) in [("slow", "s3cret-word", 65_536), ("long", &long, 4096)] {
        let key = if password.len() > 64 {
            Sha256::digest(password).to_vec()
        } else {
            password.as_bytes().to_vec()
        };
        let mut last = hmac(&key, b"salt\0\0\0\x01");
        let mut salted = last.clone();
        for _ in 1..iterations {
            last = hmac(&key, &last);
            salted
                .iter_mut()
                .zip(&last)
                .for_each(|(sum, byte)| *sum ^= byte);
        }
        let stored = hex(&Sha256::digest(hmac(&salted, b"Client Key")));
        let server = hex(&hmac(&salted, b"Server Key"));
        let create = format!(
            "DO $$ BEGIN EXECUTE format('CREATE ROLE {role} LOGIN PASSWORD ''SCRAM-SHA-256$\
            {iterations}:c2FsdA==$%s:%s''', encode('\\x{stored}', 'base64'), \
            encode('\\x{server}', 'base64')); END $$"
        );
        admin.db().batch(&create).await.unwrap();
        let url = format!(
            "postgres://{role}:{password}@127.0.0.1:{}/postgres",
            cluster.port()
        );
        let database = database(&url, &[]);
        let (one, other) = tokio::join!(session(&database), session(&database));
        for connected in [one, other] {
            assert!(connected.is_ok(), "{role}: {:?}", connected.err());
        }
    }
}
