//! Certificates of the client: the server knows its users by their certificates, and the daemon
//! reads certificate and key again for each connection (G15).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use agent_sync::session::SessionError;
use agent_sync_testbed::{Cluster, Options};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;

use crate::outage::connection::{database, session};
use crate::support::platform::{EXAMPLE, EXPECTED, TABLES};
use crate::support::{Daemon, Platform, Said};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server that accepts over TCP only users with a certificate of their own name.
struct Server {
    cluster: Cluster,
    authority: Authority,
}

impl Server {
    fn get() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let authority = authority("the authority of the clients");
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        let cluster = Cluster::start(Options {
            tcp: true,
            settings: "ssl = on\nssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'\n\
                ssl_ca_file = '../clients.crt'\nhba_file = 'pg_hba.conf'",
            files: &[
                ("server.crt", &certificate.pem()),
                ("server.key", &key.serialize_pem()),
                ("clients.crt", &authority.pem()),
                (
                    "pg_hba.conf",
                    "local all all trust\nhostssl all all samehost cert clientcert=verify-full\n",
                ),
            ],
        })
        .unwrap();
        Self { cluster, authority }
    }

    /// The address of a database for a user, with the certificate of the server accepted.
    fn url(&self, user: &str, database: &str) -> String {
        let port = self.cluster.port();
        format!("postgres://{user}@localhost:{port}/{database}?hostaddr=127.0.0.1&sslmode=require")
    }
}

/// A directory with the certificate of a client and its key.
struct Client {
    folder: TempDir,
}

impl Client {
    fn new(user: &str, authority: &Authority) -> Self {
        let client = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        client.renew(user, authority);
        client
    }

    /// Puts a new certificate and a new key in the place of the former ones.
    fn renew(&self, user: &str, authority: &Authority) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, authority).unwrap();
        self.put("client.crt", &certificate.pem(), 0o644);
        self.put("client.key", &key.serialize_pem(), 0o600);
    }

    fn put(&self, name: &str, text: &str, mode: u32) {
        let (file, new) = (self.path(name), self.path("new"));
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(new, file).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn variables(&self) -> [(&'static str, String); 2] {
        [
            (CERT, self.path("client.crt").display().to_string()),
            (KEY, self.path("client.key").display().to_string()),
        ]
    }

    /// The parameters of a connection string.
    fn parameters(&self) -> String {
        let [(_, cert), (_, key)] = self.variables();
        format!("sslcert={cert}&sslkey={key}")
    }
}

const CERT: &str = "AGENT_SYNC__DATABASES__DEFAULT__TLS_CERT";
const KEY: &str = "AGENT_SYNC__DATABASES__DEFAULT__TLS_KEY";

async fn connects(
    server: &Server,
    user: &str,
    client: &Client,
) -> Result<agent_sync::session::Session, SessionError> {
    let variables = client.variables();
    let variables: Vec<_> = variables
        .iter()
        .map(|(key, file)| (*key, &**file))
        .collect();
    session(&database(&server.url(user, "postgres"), &variables)).await
}

#[tokio::test]
async fn a_server_knows_the_client_by_its_certificate() {
    let server = Server::get();
    let client = Client::new("postgres", &server.authority);
    let of_settings = connects(server, "postgres", &client).await.unwrap();
    let url = format!(
        "{}&{}",
        server.url("postgres", "postgres"),
        client.parameters()
    );
    let of_url = session(&database(&url, &[])).await.unwrap();
    for session in [of_settings, of_url] {
        let sql = "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let name: String = session.db().value(sql, &[]).await.unwrap();
        assert_eq!(name, "/CN=postgres");
    }
}

#[tokio::test]
async fn a_refused_certificate_is_told_with_its_remedy() {
    let server = Server::get();
    // Without a certificate, and with that of another user, the server says so in words.
    let url = server.url("postgres", "postgres");
    let error = session(&database(&url, &[])).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("requires a valid client certificate"),
        "{error}"
    );
    let other = Client::new("other", &server.authority);
    let error = connects(server, "postgres", &other).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("certificate authentication failed"),
        "{error}"
    );
    // With that of another authority, it ends the connection. TLS 1.3 reports that late, and the
    // report is lost where the server has closed the socket with the request unread.
    let stranger = Client::new("postgres", &authority("strangers"));
    let error = connects(server, "postgres", &stranger).await.unwrap_err();
    match &error {
        SessionError::ClientCertificate(_) => {
            assert!(error.to_string().contains("ssl_ca_file"), "{error}");
            assert!(
                error.remedy().contains("tls_cert and tls_key"),
                "{}",
                error.remedy()
            );
        }
        SessionError::Postgres(_) => {}
        _ => panic!("{error:?}"),
    }
}

/// GIVEN a daemon that the server knows by its certificate, WHEN certificate and key are renewed
/// under another authority and the connection ends, THEN the next attempt uses the new ones.
#[tokio::test]
async fn g15_the_next_connection_uses_a_renewed_certificate() {
    let server = Server::start();
    let platform = Platform::with_tables(&server.cluster, TABLES).await;
    let role = format!("daemon_of_{}", platform.name());
    let installed = platform.says(&["install", "--role", &role]).await;
    assert_eq!(installed.code, 0, "{installed:?}");
    platform.run(&format!("ALTER ROLE {role} LOGIN")).await;
    platform.configure("a").await;
    let client = Client::new(&role, &server.authority);
    let command = |subcommand: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command
            .env_clear()
            .arg(subcommand)
            .env("DATABASE_URL", server.url(&role, platform.name()))
            .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "100ms")
            .envs(client.variables());
        command
    };
    let daemon = Daemon::start(command("run"));
    daemon.logged("caught up").await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;

    let next = authority("the next authority of the clients");
    daemon.signal("STOP");
    fs::write(server.cluster.folder().join("clients.crt"), next.pem()).unwrap();
    server.cluster.control(&["reload"]).unwrap();
    client.renew(&role, &next);
    daemon.signal("CONT");
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{role}'"
    );
    platform.value::<i64>(&end).await;
    daemon.logged("database available again").await;
    assert_eq!(daemon.outages().len(), 1, "{:?}", daemon.log());
    platform.save("b", EXAMPLE).await;
    platform.configure("b").await;
    platform.becomes("b", EXPECTED).await;
    let said = Said::of(command("check")).await;
    assert_eq!(said.code, 0, "{said:?}");

    // A key that is gone, and one that others can read, are named by the attempts that need them.
    for (spoil, told) in [("gone", "cannot read "), ("open", "found mode 0644")] {
        let key = client.path("client.key");
        let text = fs::read_to_string(&key).unwrap();
        match spoil {
            "gone" => fs::remove_file(&key).unwrap(),
            _ => fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap(),
        }
        let before = daemon.outages().len();
        platform.value::<i64>(&end).await;
        let line = daemon.outage_times(before + 2).await.pop().unwrap();
        let cause = line["cause"].as_str().unwrap();
        assert!(
            cause.contains(told) && cause.contains(key.to_str().unwrap()),
            "{cause}"
        );
        let again = daemon.lines("database available again").len() + 1;
        client.put("client.key", &text, 0o600);
        daemon.logged_times("database available again", again).await;
    }
}

/// Keys that libpq refuses, and keys without a certificate, are mistakes in the settings.
#[tokio::test]
async fn s16_a_key_that_cannot_be_used_is_refused() {
    const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED \
        PRIVATE KEY-----\n";
    let authority = authority("any");
    let client = Client::new("app", &authority);
    let key = fs::read_to_string(client.path("client.key")).unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let url = "postgres://app@db.example.com/x?sslmode=verify-full";
    let [cert, key_file] = client.variables();
    let (at_cert, at_key) = (client.path("client.crt"), client.path("client.key"));
    let (at_cert, at_key) = (at_cert.display(), at_key.display());
    for (text, mode, told) in [
        (&*key, 0o600, String::new()),
        (
            &key,
            0o644,
            format!(
                "tls_key: expected a key that no other user can read in {at_key}, found mode 0644: \
                at most 0600, or 0640 if root owns it; chmod 06"
            ),
        ),
        (
            ENCRYPTED,
            0o600,
            format!(
                "tls_key: expected a key without a passphrase in {at_key}, found an encrypted one; \
                decrypt it: openssl pkey"
            ),
        ),
        (
            "hunter2",
            0o600,
            format!("tls_key: expected a private key in PEM form in {at_key}, found none; name"),
        ),
        (
            &other,
            0o600,
            format!(
                "tls_key: expected the key of the certificate {at_cert} in {at_key}, found another \
                key; name"
            ),
        ),
    ] {
        client.put("client.key", text, mode);
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command.env_clear().arg("config").env("DATABASE_URL", url);
        command.envs([cert.clone(), key_file.clone()]);
        let said = Said::of(command).await;
        let expected = if told.is_empty() { 0 } else { 64 };
        assert_eq!(said.code, expected, "{said:?}");
        assert!(
            said.err.contains(&told) && !said.err.contains("hunter2"),
            "{told}: {said:?}"
        );
    }
    client.put("client.key", &key, 0o600);
    for (url, variables, told) in [
        (
            url,
            std::slice::from_ref(&cert),
            "tls_cert: expected a tls_key beside the certificate, found none",
        ),
        (
            url,
            std::slice::from_ref(&key_file),
            "tls_key: expected a tls_cert beside the key, found none",
        ),
        (
            "postgres://app@localhost/x",
            &[cert.clone(), key_file.clone()],
            "tls_cert: has no effect, because tls is \"disable\"",
        ),
        (
            "host=/run/postgresql sslmode=require",
            &[cert.clone(), key_file.clone()],
            "leave out tls, tls_root_cert, tls_cert and tls_key",
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command.env_clear().arg("config").env("DATABASE_URL", url);
        command.envs(variables.iter().cloned());
        let said = Said::of(command).await;
        assert_eq!(said.code, 64, "{said:?}");
        assert!(said.err.contains(told), "{told}: {said:?}");
    }
}
