//! TLS, and who is let in: what each mode demands of the server's certificate, and SCRAM over it.

use std::sync::OnceLock;

use agent_sync::session::{Session, SessionError};
use agent_sync::throwaway::{Cluster, Options};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::connection::{database, session};

/// The name that the server's certificate is made out to.
const NAME: &str = "db.test";

/// A server that takes nothing but TLS by TCP, and the files of two authorities; it has the word of the first.
struct Server {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl Server {
    fn get() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| {
            let (ours, theirs) = (authority("ours"), authority("theirs"));
            let key = KeyPair::generate().unwrap();
            let certificate =
                CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
            let hba = "local all all trust\nhostssl all scram all scram-sha-256\nhostssl all all all trust\n";
            let cluster = Cluster::start(Options {
                tcp: true,
                settings: "ssl = on\nssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'\n\
                    hba_file = 'pg_hba.conf'\npassword_encryption = 'scram-sha-256'",
                files: &[
                    ("server.crt", &certificate.pem()),
                    ("server.key", &key.serialize_pem()),
                    ("pg_hba.conf", hba),
                ],
            })
            .unwrap();
            let folder = tempfile::tempdir().unwrap();
            for (name, content) in [
                ("ours.crt", ours.pem()),
                ("theirs.crt", theirs.pem()),
                ("right", "s3cret\n".to_owned()),
                ("wrong", "gu3ssed\n".to_owned()),
            ] {
                std::fs::write(folder.path().join(name), content).unwrap();
            }
            Self { cluster, folder }
        })
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Connects by this name, with further variables.
    async fn session(&self, user: &str, host: &str, more: &[(&str, &str)]) -> Result<Session, SessionError> {
        let port = self.cluster.port();
        let url = format!("postgres://{user}@{host}:{port}/postgres?hostaddr=127.0.0.1");
        session(&database(&url, more)).await
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

const TLS: &str = "AGENT_SYNC__DATABASES__DEFAULT__TLS";
const ROOT: &str = "AGENT_SYNC__DATABASES__DEFAULT__TLS_ROOT_CERT";
const PASSWORD_FILE: &str = "AGENT_SYNC__DATABASES__DEFAULT__PASSWORD_FILE";

async fn is_encrypted(session: &Session) -> bool {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    session.client().query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn tls_accepts_what_each_mode_allows() {
    let server = Server::get();
    let ours = server.file("ours.crt");
    for (host, more) in [
        ("other.test", &[(TLS, "require")][..]),
        ("other.test", &[(TLS, "verify-ca"), (ROOT, &ours)]),
        (NAME, &[(TLS, "verify-full"), (ROOT, &ours)]),
        // Whoever gives an authority means it to be asked.
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
    let error = server.session("postgres", "other.test", &more).await.unwrap_err();
    assert!(matches!(error, SessionError::Certificate(_)), "{error:?}");
    assert!(error.to_string().contains("other.test"), "{error}");
    assert!(error.remedy().contains("a name that the certificate is made out to"), "{}", error.remedy());
}

#[tokio::test]
async fn tls_rejects_a_certificate_of_another_authority() {
    let server = Server::get();
    for mode in ["verify-ca", "verify-full"] {
        let more = [(TLS, mode), (ROOT, &server.file("theirs.crt"))];
        let error = server.session("postgres", NAME, &more).await.unwrap_err();
        assert!(matches!(error, SessionError::Certificate(_)), "{mode}: {error:?}");
        assert!(error.remedy().contains("tls_root_cert"), "{mode}: {}", error.remedy());
    }
}

#[tokio::test]
async fn tls_is_never_negotiated_down() {
    let server = Server::get();
    let error = server.session("postgres", NAME, &[(TLS, "disable")]).await.unwrap_err();
    assert!(error.to_string().contains("no encryption"), "{error}");
    let plain = crate::support::tcp_cluster();
    let error = session(&database(&plain.tcp_url("postgres"), &[(TLS, "require")])).await.unwrap_err();
    assert!(error.to_string().contains("server does not support TLS"), "{error}");
    assert!(error.remedy().contains("tls"), "{}", error.remedy());
}

#[tokio::test]
async fn scram_over_tls_binds_to_the_channel_and_never_tells_the_password() {
    let server = Server::get();
    let admin = session(&database(&server.cluster.url("postgres"), &[])).await.unwrap();
    admin.client().batch_execute("CREATE ROLE scram LOGIN PASSWORD 's3cret'").await.unwrap();
    let (right, wrong) = (server.file("right"), server.file("wrong"));
    let port = server.cluster.port();
    let url = format!("postgres://scram@{NAME}:{port}/postgres?hostaddr=127.0.0.1&channel_binding=require");
    let bound = session(&database(&url, &[(TLS, "require"), (PASSWORD_FILE, &right)])).await.unwrap();
    assert!(is_encrypted(&bound).await);

    let error = session(&database(&url, &[(TLS, "require"), (PASSWORD_FILE, &wrong)])).await.unwrap_err();
    let (text, debug) = (error.to_string(), format!("{error:?}"));
    assert!(text.contains("password authentication failed"), "{text}");
    assert!(error.remedy().contains("password"), "{}", error.remedy());
    assert!(!text.contains("gu3ssed") && !debug.contains("gu3ssed"), "{debug}");
    let error = server.session("scram", NAME, &[(TLS, "require")]).await.unwrap_err();
    assert!(error.to_string().contains("password missing"), "{error}");
    assert!(error.remedy().contains("password"), "{}", error.remedy());
}
