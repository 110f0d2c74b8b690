//! What a server may send with TLS before it has proved anything, and besides content (S29).

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use agent_sync::session::SessionError;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair,
};
use rustls::ContentType;
use rustls::pki_types::CertificateDer;

use crate::outage::tls::{self, CLEARTEXT, Impostor, NAME, ROOT, Record, TLS};
use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Daemon, Platform, eventually};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The certificate of an authority with this name, which claims to be signed by that one, with so
/// many extensions that mean nothing.
fn authority(name: &str, signer: &str, extensions: u64) -> CertificateDer<'static> {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.custom_extensions = (0..extensions)
        .map(|number| CustomExtension::from_oid_content(&[1, 3, number], Vec::new()))
        .collect();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(named(signer), KeyPair::generate().unwrap());
    let certificate = params.signed_by(&key, &issuer).unwrap();
    certificate.der().clone()
}

/// Authorities of so many names, so many of each. Those of a name claim to be signed by those of
/// the next, and those of the first one to have signed the certificate of the server.
fn levels(names: usize, of_each: usize, extensions: u64) -> Vec<CertificateDer<'static>> {
    let name = |number: usize| match number {
        0 => "impostor".to_owned(),
        number => format!("authority {number}"),
    };
    (0..names * of_each)
        .map(|number| {
            let level = number / of_each;
            authority(&name(level), &name(level + 1), extensions)
        })
        .collect()
}

/// GIVEN servers that send many certificates, many of one name or large ones, WHEN a session
/// connects, THEN it refuses them in every mode, and says what to do.
#[tokio::test]
async fn s29_too_many_certificates_are_refused_in_every_mode() {
    for (what, others, found) in [
        ("many", levels(9, 1, 0), "found 9, 0 with"),
        ("of one name", levels(1, 3, 0), "found 3, 2 with"),
        ("of two names", levels(2, 2, 0), "found 4, 2 with"),
        ("large", levels(2, 1, 2000), "found 2, 0 with"),
        // Without a limit, rustls tries 200,000 paths.
        ("of six levels", levels(6, 7, 20), "found 42, 0 with"),
    ] {
        let impostor = Impostor::with(LOCAL, CLEARTEXT, others, None);
        let root = impostor.root.path().display().to_string();
        for mode in ["require", "verify-ca", "verify-full"] {
            let more = [(TLS, mode), (ROOT, &*root)];
            let more = &more[..if mode == "require" { 1 } else { 2 }];
            let (error, got) = impostor.session(LOCAL, more).await;
            let text = error.to_string();
            assert!(
                matches!(error, SessionError::LongChain(_)),
                "{what}, {mode}: {text}"
            );
            assert!(text.contains(found), "{what}, {mode}: {text}");
            assert!(error.remedy().contains("ssl_cert_file"), "{what}, {mode}");
            assert_eq!(got, b"", "{what}, {mode}: nothing is sent");
        }
    }
}

/// The certificates of a usual server, and more, are taken: up to eight authorities, in any order,
/// and one of them twice.
#[tokio::test]
async fn s29_the_certificates_of_a_usual_server_are_taken() {
    let mut others = levels(7, 1, 100);
    others.push(others[3].clone());
    let impostor = Impostor::with(LOCAL, CLEARTEXT, others, None);
    let root = impostor.root.path().display().to_string();
    for (mode, root) in [
        ("require", None),
        ("verify-ca", Some(&root)),
        ("verify-full", Some(&root)),
    ] {
        let root = root.map(|root| (ROOT, &**root));
        let more: Vec<_> = [(TLS, mode)].into_iter().chain(root).collect();
        let (error, got) = impostor.session(LOCAL, &more).await;
        assert_eq!(got.first(), Some(&b'p'), "{mode}: {error}");
    }
}

/// A record of the shortest session tickets.
fn tickets() -> Record {
    let ticket = b"\x04\0\0\x0f\0\0\x0e\x10\0\0\0\0\x01n\0\x01t\0\0";
    (ContentType::Handshake, ticket.repeat(800))
}

/// GIVEN a server that sends session tickets without end, WHEN a session connects, THEN it ends
/// with the cause.
#[tokio::test]
async fn s29_tls_without_content_ends_the_connection() {
    let impostor = Impostor::with(LOCAL, CLEARTEXT, Vec::new(), Some(tickets()));
    let (error, _) = impostor.session(LOCAL, &[(TLS, "require")]).await;
    let text = error.to_string();
    let cause = "more than 262144 bytes of TLS without content";
    assert!(text.contains(cause), "{text}");
}

/// GIVEN servers of several databases, with certificates of which a search takes long, or with
/// session tickets without end, WHEN the daemon connects to them again and again, THEN a change of
/// another database is applied within 2 s.
#[tokio::test]
async fn s29_false_servers_with_tls_leave_another_database_its_time() {
    let platform = Platform::installed().await;
    let mut settings = format!("[databases.true]\nurl = '{}'\n", platform.url);
    let impostors = [
        Impostor::with(LOCAL, CLEARTEXT, levels(6, 7, 100), None),
        Impostor::with(LOCAL, CLEARTEXT, levels(1, 8, 400), None),
        Impostor::with(LOCAL, CLEARTEXT, levels(8, 1, 0), Some(tickets())),
    ];
    let folder = tempfile::tempdir().unwrap();
    let unrelated = folder.path().join("unrelated.crt");
    std::fs::write(&unrelated, tls::authority("unrelated").pem()).unwrap();
    for (number, impostor) in impostors.iter().enumerate() {
        // The search for an unknown authority is the long one.
        let own = impostor.root.path();
        let root = if number < 2 { &*unrelated } else { own };
        let (port, root) = (impostor.port, root.display());
        writeln!(
            settings,
            "[databases.false_{number}]\nurl = 'postgres://app:s3cret-word@{NAME}:{port}/postgres\
            ?hostaddr=127.0.0.1'\ntls = 'verify-full'\ntls_root_cert = '{root}'"
        )
        .unwrap();
    }
    let path = folder.path().join("agent-sync.toml");
    std::fs::write(&path, settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        .args(["run", "--config"])
        .arg(&path)
        .env("AGENT_SYNC__ADMIN__LISTEN", "127.0.0.1:0")
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
    let daemon = Daemon::start(command);
    for impostor in &impostors {
        for _ in 0..3 {
            eventually("the daemon has tried three times", async || {
                impostor.got.try_recv().is_ok()
            })
            .await;
        }
    }
    let mut fastest = Duration::MAX;
    for slug in ["a", "b", "c", "d", "e"] {
        platform.configure(slug).await;
        let start = Instant::now();
        platform.save(slug, EXAMPLE).await;
        platform.becomes(slug, EXPECTED).await;
        fastest = fastest.min(start.elapsed());
    }
    assert!(fastest < Duration::from_secs(2), "{fastest:?}");
    let lines = daemon.log();
    for cause in ["too many certificates", "bytes of TLS without content"] {
        let is_told = lines.iter().any(|line| line.to_string().contains(cause));
        assert!(is_told, "{cause}");
    }
}
