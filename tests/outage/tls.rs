//! TLS and authentication: the requirements of each mode on the server's certificate, and SCRAM
//! over TLS.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent_sync::session::{PasswordRequest, Session, SessionError};
use agent_sync_testbed::{Cluster, Options};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, ServerConfig, ServerConnection,
    StreamOwned,
};

use crate::outage::connection::{database, session};
use crate::support::{Said, own_address};

/// The name in the server's certificate.
pub(super) const NAME: &str = "db.test";

/// A server that accepts only TLS over TCP, and the files of two authorities; the first one has
/// signed its certificate.
struct Server {
    cluster: Cluster,
}

impl Server {
    fn get() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| {
            let (ours, theirs) = (authority("ours"), authority("theirs"));
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec![NAME.to_owned()])
                .unwrap()
                .signed_by(&key, &ours)
                .unwrap();
            // From every address of this machine, and from this machine alone.
            let hba = "local all all trust\nhostssl all md5 samehost md5\nhost all scram samehost \
                scram-sha-256\nhostssl all all samehost trust\n";
            let own = own_address()
                .map(|own| {
                    format!(
                        "listen_addresses = '127.0.0.1, \
                        {own}'\n"
                    )
                })
                .unwrap_or_default();
            let cluster = Cluster::start(Options {
                tcp: true,
                settings: &format!(
                    "{own}ssl = on\nssl_cert_file = '../server.crt'\nssl_key_file = \
                    '../server.key'\nhba_file = 'pg_hba.conf'\npassword_encryption = \
                    'scram-sha-256'"
                ),
                files: &[
                    ("server.crt", &certificate.pem()),
                    ("server.key", &key.serialize_pem()),
                    ("pg_hba.conf", hba),
                ],
            })
            .unwrap();
            // In the directory of the server, which is removed with it; a static is never dropped.
            for (name, content) in [
                ("ours.crt", ours.pem()),
                ("theirs.crt", theirs.pem()),
                ("right", "s3cret\n".to_owned()),
                ("wrong", "gu3ssed\n".to_owned()),
            ] {
                std::fs::write(cluster.folder().join(name), content).unwrap();
            }
            Self { cluster }
        })
    }

    fn file(&self, name: &str) -> String {
        self.cluster.folder().join(name).display().to_string()
    }

    /// Creates a role, if it does not exist, with a password in this encryption.
    async fn has_role(&self, name: &str, encryption: &str) {
        let admin = session(&database(&self.cluster.url("postgres"), &[]))
            .await
            .unwrap();
        let sql = format!(
            "SELECT pg_advisory_xact_lock(12); SET LOCAL password_encryption = '{encryption}';
             DO $$ BEGIN IF to_regrole('{name}') IS NULL
               THEN CREATE ROLE {name} LOGIN PASSWORD 's3cret'; END IF; END $$"
        );
        admin.db().batch(&sql).await.unwrap();
    }

    /// Connects to this name, with further variables.
    async fn session(
        &self,
        user: &str,
        host: &str,
        more: &[(&str, &str)],
    ) -> Result<Session, SessionError> {
        let port = self.cluster.port();
        let url = format!("postgres://{user}@{host}:{port}/postgres?hostaddr=127.0.0.1");
        session(&database(&url, more)).await
    }
}

pub(super) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) const TLS: &str = "AGENT_SYNC__DATABASES__DEFAULT__TLS";
pub(super) const ROOT: &str = "AGENT_SYNC__DATABASES__DEFAULT__TLS_ROOT_CERT";
const PASSWORD_FILE: &str = "AGENT_SYNC__DATABASES__DEFAULT__PASSWORD_FILE";

async fn is_encrypted(session: &Session) -> bool {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    session.db().value(sql, &[]).await.unwrap()
}

#[tokio::test]
async fn tls_accepts_what_each_mode_allows() {
    let server = Server::get();
    let ours = server.file("ours.crt");
    for (host, more) in [
        ("other.test", &[(TLS, "require")][..]),
        ("other.test", &[(TLS, "verify-ca"), (ROOT, &ours)]),
        (NAME, &[(TLS, "verify-full"), (ROOT, &ours)]),
        // A configured authority implies verification.
        (NAME, &[(ROOT, &ours)]),
    ] {
        let session = server.session("postgres", host, more).await;
        let session = session.unwrap_or_else(|error| panic!("{host} {more:?}: {error}"));
        assert!(is_encrypted(&session).await, "{host} {more:?}");
    }
}

#[tokio::test]
async fn tls_verify_full_rejects_the_wrong_name() {
    let server = Server::get();
    let more = [(TLS, "verify-full"), (ROOT, &server.file("ours.crt"))];
    let error = server
        .session("postgres", "other.test", &more)
        .await
        .unwrap_err();
    assert!(matches!(error, SessionError::Certificate(_)), "{error:?}");
    assert!(error.to_string().contains("other.test"), "{error}");
    assert!(
        error
            .remedy()
            .contains("a name that the certificate is made out to"),
        "{}",
        error.remedy()
    );
}

#[tokio::test]
async fn tls_rejects_a_certificate_of_another_authority() {
    let server = Server::get();
    for mode in ["verify-ca", "verify-full"] {
        let more = [(TLS, mode), (ROOT, &server.file("theirs.crt"))];
        let error = server.session("postgres", NAME, &more).await.unwrap_err();
        assert!(
            matches!(error, SessionError::Certificate(_)),
            "{mode}: {error:?}"
        );
        assert!(
            error.remedy().contains("tls_root_cert"),
            "{mode}: {}",
            error.remedy()
        );
    }
}

#[tokio::test]
async fn tls_is_never_negotiated_down() {
    let server = Server::get();
    let error = server
        .session("postgres", NAME, &[(TLS, "disable")])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no encryption"), "{error}");
    let plain = crate::support::tcp_cluster();
    let error = session(&database(&plain.tcp_url("postgres"), &[(TLS, "require")]))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("server does not support TLS"),
        "{error}"
    );
    let remedy = error.remedy();
    assert!(
        remedy.starts_with("This server has no TLS. ") && remedy.contains("(?sslmode=disable)"),
        "{remedy}"
    );
}

/// SCRAM over TLS uses channel binding and never sends the password.
#[tokio::test]
async fn scram_over_tls_binds_to_the_channel() {
    let server = Server::get();
    server.has_role("scram", "scram-sha-256").await;
    let (right, wrong) = (server.file("right"), server.file("wrong"));
    let port = server.cluster.port();
    let url = format!(
        "postgres://scram@{NAME}:{port}/postgres?hostaddr=127.0.0.1&channel_binding=require"
    );
    let bound = session(&database(
        &url,
        &[(TLS, "require"), (PASSWORD_FILE, &right)],
    ))
    .await
    .unwrap();
    assert!(is_encrypted(&bound).await);

    let error = session(&database(
        &url,
        &[(TLS, "require"), (PASSWORD_FILE, &wrong)],
    ))
    .await
    .unwrap_err();
    let (text, debug) = (error.to_string(), format!("{error:?}"));
    assert!(text.contains("password authentication failed"), "{text}");
    assert!(error.remedy().contains("password"), "{}", error.remedy());
    assert!(
        !text.contains("gu3ssed") && !debug.contains("gu3ssed"),
        "{debug}"
    );
    let error = server
        .session("scram", NAME, &[(TLS, "require")])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("password missing"), "{error}");
    let remedy = error.remedy();
    assert!(
        remedy.starts_with("Put the password into password_file") && !remedy.contains("tls"),
        "{remedy}"
    );
}

/// An impostor: it speaks TLS with its own certificate, or no TLS, requests the password by its own
/// method, and keeps the answer.
pub(super) struct Impostor {
    pub(super) port: u16,
    /// The authority of its certificate.
    pub(super) root: tempfile::NamedTempFile,
    pub(super) got: std::sync::mpsc::Receiver<Vec<u8>>,
}

pub(super) const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05salt";

impl Impostor {
    fn start(address: IpAddr, request: &'static [u8]) -> Self {
        Self::with(address, request, Vec::new(), None)
    }

    /// One that sends these certificates behind its own, and such records without end.
    pub(super) fn with(
        address: IpAddr,
        request: &'static [u8],
        others: Vec<CertificateDer<'static>>,
        surplus: Option<Record>,
    ) -> Self {
        let authority = authority("impostor");
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![NAME.to_owned()])
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let own = CertificateDer::from(certificate.der().to_vec());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                [vec![own], others].concat(),
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        config.enable_secret_extraction = true;
        let mut root = tempfile::NamedTempFile::new().unwrap();
        root.write_all(authority.pem().as_bytes()).unwrap();
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (keep, got) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = keep.send(Self::answer(
                    stream.unwrap(),
                    &config,
                    request,
                    surplus.as_ref(),
                ));
            }
        });
        Self { port, root, got }
    }

    /// The message of a client after the request for a password.
    fn answer(
        mut stream: TcpStream,
        config: &ServerConfig,
        request: &[u8],
        surplus: Option<&Record>,
    ) -> Vec<u8> {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut head = [0; 8];
        stream.read_exact(&mut head).unwrap();
        if head == [0, 0, 0, 8, 4, 210, 22, 47] {
            stream.write_all(b"S").unwrap();
            let connection = ServerConnection::new(Arc::new(config.clone())).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            if stream.read_exact(&mut head).is_err() {
                // The client refused the certificate.
                return Vec::new();
            }
            if let Some(record) = surplus {
                flood(stream.conn, stream.sock, record);
                return Vec::new();
            }
            return Self::ask(&mut stream, head, request);
        }
        Self::ask(&mut stream, head, request)
    }

    fn ask(stream: &mut (impl Read + Write), head: [u8; 8], request: &[u8]) -> Vec<u8> {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let mut startup = vec![0; length as usize - 8];
        stream.read_exact(&mut startup).unwrap();
        for byte in request {
            if stream
                .write_all(&[*byte])
                .and_then(|()| stream.flush())
                .is_err()
            {
                break;
            }
        }
        let mut answer = vec![0; 1024];
        let count = stream.read(&mut answer).unwrap_or(0);
        answer.truncate(count);
        answer
    }

    /// Connects to the impostor. Returns the error, and the bytes that it received.
    pub(super) async fn session(
        &self,
        address: IpAddr,
        more: &[(&str, &str)],
    ) -> (SessionError, Vec<u8>) {
        let url = format!(
            "postgres://app:s3cret@{NAME}:{}/postgres?hostaddr={address}",
            self.port
        );
        let error = session(&database(&url, more)).await.unwrap_err();
        (
            error,
            self.got.recv_timeout(Duration::from_secs(30)).unwrap(),
        )
    }
}

/// A record of TLS: its type and its content.
pub(super) type Record = (ContentType, Vec<u8>);

/// Sends a record again and again, until the client has closed the connection.
fn flood(connection: ServerConnection, mut stream: TcpStream, (typ, content): &Record) {
    let (mut number, secrets) = connection.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
        panic!("the client has chosen another cipher");
    };
    let suite = TLS13_AES_256_GCM_SHA384.tls13().unwrap();
    let mut encrypter = suite.aead_alg.encrypter(key, iv);
    loop {
        let message = OutboundPlainMessage {
            typ: *typ,
            version: ProtocolVersion::TLSv1_3,
            payload: OutboundChunks::Single(content),
        };
        let record = encrypter.encrypt(message, number).unwrap().encode();
        if stream.write_all(&record).is_err() {
            return;
        }
        number += 1;
    }
}

/// A name that leads to a loopback address is not the name of this machine: who answers for the
/// name service could get the password of another host.
#[tokio::test]
async fn s12_a_name_that_leads_to_this_machine_is_another_host() {
    let local = IpAddr::from([127, 0, 0, 1]);
    let impostor = Impostor::start(local, CLEARTEXT);
    // No literal address in the settings, and one for the name service.
    let url = format!("postgres://app:s3cret@127.1:{}/postgres", impostor.port);
    let plain = database(&url, &[(TLS, "disable")]);
    let error = session(&plain).await.unwrap_err();
    assert!(matches!(error, SessionError::Password(_)), "{error:?}");
    let got = impostor.got.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(got, b"", "nothing is sent");
}

/// An unverified server gets neither a cleartext password nor a hash.
#[tokio::test]
async fn s12_an_unverified_server_gets_no_password_and_no_hash() {
    let Some(own) = own_address() else { return };
    for (request, asked) in [
        (CLEARTEXT, PasswordRequest::Cleartext),
        (MD5, PasswordRequest::Md5),
    ] {
        let impostor = Impostor::start(own, request);
        for mode in ["require", "disable"] {
            let (error, got) = impostor.session(own, &[(TLS, mode)]).await;
            assert!(
                matches!(error, SessionError::Password(how) if how == asked),
                "{mode}: {error:?}"
            );
            assert_eq!(got, b"", "{mode}: nothing is sent");
            assert!(
                error.to_string().contains("not verified") && error.remedy().contains("SCRAM"),
                "{error}"
            );
        }
        // An address without a name to verify.
        let url = format!(
            "hostaddr={own} port={} user=app password=s3cret",
            impostor.port
        );
        let error = session(&database(&url, &[(TLS, "disable")]))
            .await
            .unwrap_err();
        assert!(matches!(error, SessionError::Password(_)), "{error:?}");
        assert_eq!(
            impostor.got.recv_timeout(Duration::from_secs(30)).unwrap(),
            b""
        );
        // A verified server may use any method.
        let root = impostor.root.path().display().to_string();
        for mode in ["verify-ca", "verify-full"] {
            let (_, got) = impostor.session(own, &[(TLS, mode), (ROOT, &root)]).await;
            assert_eq!(got.first(), Some(&b'p'), "{mode}: the password");
        }
    }
    // So may a server of this machine, because no network is in between.
    let local = IpAddr::from([127, 0, 0, 1]);
    let impostor = Impostor::start(local, CLEARTEXT);
    for mode in ["require", "disable"] {
        let (_, got) = impostor.session(local, &[(TLS, mode)]).await;
        assert_eq!(got, b"p\0\0\0\x0bs3cret\0", "{mode}");
    }
}

/// Such a server may be a program of another user that has taken the port during a restart of
/// PostgreSQL.
#[tokio::test]
async fn s12_a_local_server_that_sends_without_end_is_refused() {
    const HUGE: &[u8] = b"R\x7f\xff\xff\xf0";
    let local = IpAddr::from([127, 0, 0, 1]);
    let impostor = Impostor::start(local, HUGE);
    for mode in ["require", "disable"] {
        let (error, _) = impostor.session(local, &[(TLS, mode)]).await;
        assert!(
            error
                .to_string()
                .contains("the server sends more than 4096 bytes"),
            "{mode}: {error:?}"
        );
    }
}

/// Another host is verified by default, and the refusal has a remedy.
#[tokio::test]
async fn s12_another_host_is_verified_by_default() {
    let Some(own) = own_address() else { return };
    let impostor = Impostor::start(own, CLEARTEXT);
    let (error, got) = impostor.session(own, &[]).await;
    assert!(matches!(error, SessionError::Certificate(_)), "{error:?}");
    assert_eq!(got, b"");
    let text = error.to_string();
    assert!(
        text.contains("expected one that an authority of tls_root_cert has signed"),
        "{text}"
    );
    assert!(text.contains("found one of another authority"), "{text}");
    // What proves the server comes first, and what `require` gives up is told.
    let remedy = error.remedy();
    let (root, require) = (
        remedy.find("tls_root_cert"),
        remedy.find("tls = \"require\""),
    );
    assert!(root.is_some() && root < require, "{remedy}");
    assert!(
        remedy.contains("reads and changes the whole session"),
        "{remedy}"
    );
}

/// An unverified server is accepted with SCRAM, and `doctor` reports it.
#[tokio::test]
async fn s12_an_unverified_server_is_used_with_scram() {
    let Some(own) = own_address() else { return };
    let server = Server::get();
    server.has_role("scram", "scram-sha-256").await;
    server.has_role("md5", "md5").await;
    let (port, password) = (server.cluster.port(), server.file("right"));
    let url = |user: &str| format!("postgres://{user}@{NAME}:{port}/postgres?hostaddr={own}");
    for mode in ["require", "disable"] {
        let more = [(TLS, mode), (PASSWORD_FILE, &*password)];
        let session = session(&database(&url("scram"), &more)).await;
        let session = session.unwrap_or_else(|error| panic!("{mode}: {error}"));
        assert_eq!(is_encrypted(&session).await, mode == "require");
    }
    let more = [(TLS, "require"), (PASSWORD_FILE, &*password)];
    let error = session(&database(&url("md5"), &more)).await.unwrap_err();
    assert!(
        matches!(error, SessionError::Password(PasswordRequest::Md5)),
        "{error:?}"
    );
    let root = server.file("ours.crt");
    session(&database(
        &url("md5"),
        &[(ROOT, &root), (PASSWORD_FILE, &password)],
    ))
    .await
    .unwrap();

    for (more, level, text) in [
        (
            &[(TLS, "require")][..],
            "warn",
            "encrypted, but the server is not verified: any server that answers is trusted",
        ),
        (
            &[(TLS, "disable")],
            "warn",
            "not encrypted, the server not verified",
        ),
        (&[(ROOT, &*root)], "pass", "the server's name verified"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command
            .env_clear()
            .args(["doctor", "--json"])
            .env("DATABASE_URL", url("scram"));
        command
            .env(PASSWORD_FILE, &password)
            .envs(more.iter().copied());
        let said = Said::of(command).await.object();
        let checks = said["checks"].as_array().unwrap();
        let note = checks
            .iter()
            .find(|check| check["topic"] == "connection")
            .unwrap();
        assert_eq!(note["level"], level, "{note}");
        assert!(note["text"].as_str().unwrap().contains(text), "{note}");
        assert_eq!(note["remedy"].is_null(), level == "pass", "{note}");
    }
}
