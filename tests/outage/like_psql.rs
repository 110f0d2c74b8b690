//! The sources of libpq lead agent-sync where they lead psql (I9): the same variables, files and
//! connection strings give the same server, user, database and password.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a client says: the number of its server, its user, its database and its password.
type Login = (usize, String, String, Option<String>);

/// Two servers that ask each client for its password in the clear, keep it, and refuse it.
struct Servers {
    ports: [u16; 2],
    logins: Arc<Mutex<Vec<Login>>>,
}

impl Servers {
    fn start() -> Self {
        let logins = Arc::default();
        let ports = [0, 1].map(|number| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let logins: Arc<Mutex<Vec<Login>>> = Arc::clone(&logins);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    if let Ok((user, database, password)) = login(&mut stream) {
                        let login = (number, user, database, password);
                        let mut logins = logins.lock().unwrap();
                        // psql may try again.
                        if logins.last() != Some(&login) {
                            logins.push(login);
                        }
                    }
                }
            });
            port
        });
        Self { ports, logins }
    }

    /// The logins of a command.
    fn of(&self, command: &mut Command) -> (Vec<Login>, String) {
        self.logins.lock().unwrap().clear();
        let output = command.stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // A server takes its clients in turn, so after this one it has noted all of the command.
        for port in self.ports {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream
                .write_all(b"\0\0\0\x14\0\x03\0\0user\0last\0\0\0")
                .unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
        let mut logins = self.logins.lock().unwrap().clone();
        logins.retain(|(_, user, ..)| user != "last");
        (logins, told)
    }
}

/// Answers a client up to the refusal of its password.
fn login(stream: &mut TcpStream) -> io::Result<(String, String, Option<String>)> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let startup = loop {
        let message = message(stream)?;
        // A request for encryption is declined.
        if message.starts_with(&80_877_103_u32.to_be_bytes())
            || message.starts_with(&80_877_104_u32.to_be_bytes())
        {
            stream.write_all(b"N")?;
        } else {
            break message;
        }
    };
    let text = String::from_utf8_lossy(&startup[4..]);
    let mut words = text.split('\0');
    let mut parameters = HashMap::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        parameters.insert(name.to_owned(), value.to_owned());
    }
    stream.write_all(b"R\0\0\0\x08\0\0\0\x03")?;
    let mut tag = [0];
    let password = match stream.read_exact(&mut tag).and_then(|()| message(stream)) {
        Ok(password) if tag == *b"p" => {
            let password = String::from_utf8_lossy(&password).into_owned();
            Some(password.trim_end_matches('\0').to_owned())
        }
        // The client has no password.
        _ => None,
    };
    let error = b"SFATAL\0VFATAL\0C28P01\0Mrefused\0\0";
    let length = u32::try_from(error.len() + 4).unwrap().to_be_bytes();
    let refusal = [b"E", &length[..], error].concat();
    let _ = stream.write_all(&refusal);
    let user = parameters.remove("user").unwrap_or_default();
    let database = parameters
        .remove("database")
        .unwrap_or_else(|| user.clone());
    Ok((user, database, password))
}

/// The body of a message.
fn message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// `PORT` and `OTHER` stand for the ports of the servers, and `HOME` for the home directory.
const PASSFILE: &str = r"# comment
127.0.0.1:OTHER:*:*:of-other
127.0.0.1:PORT:d\:b:us\\er:esc\:aped\\
127.0.0.1:PORT:plain:*:of-plain:rest
localhost:*:*:*:of-localhost
127.0.0.1:*:*:al*:never
*:*:*:alice:of-alice
*:*:*:*:of-any
";

const SERVICES: &str = "[one]\nhost=127.0.0.1\nport=OTHER\nuser=service-user\ndbname=service-db\n\
    host=192.0.2.1\n\n[two]\npassword=of-service\n[three]\nuser=bob\npassword=\n";

/// A connection string, and variables beside those of the test.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

const CASES: &[Case] = &[
    ("", &[("PGUSER", "alice"), ("PGDATABASE", "d")]),
    ("", &[("PGUSER", "alice")]),
    ("", &[("PGUSER", "x"), ("PGDATABASE", "plain")]),
    ("", &[("PGUSER", "bob"), ("PGPASSWORD", "of-variable")]),
    ("", &[("PGUSER", "bob"), ("PGPASSFILE", "HOME/named")]),
    ("", &[("PGUSER", "bob"), ("PGPASSFILE", "HOME/open")]),
    ("", &[("PGUSER", "bob"), ("PGPASSFILE", "HOME/missing")]),
    ("", &[("PGSERVICE", "one")]),
    (
        "",
        &[
            ("PGSERVICE", "one"),
            ("PGPASSWORD", "of-variable"),
            ("PGUSER", "x"),
        ],
    ),
    ("", &[("PGSERVICE", "two"), ("PGUSER", "x")]),
    ("", &[("PGSERVICE", "three")]),
    ("service=one user=explicit", &[("PGUSER", "x")]),
    ("service=one port=PORT", &[]),
    (
        "postgres://carol@127.0.0.1/b",
        &[("PGPASSWORD", "of-variable")],
    ),
    (
        "postgres://carol:of-url@127.0.0.1:OTHER/b",
        &[("PGPASSWORD", "of-variable")],
    ),
    (
        "postgres://carol:@127.0.0.1:OTHER/b",
        &[("PGPASSWORD", "of-variable")],
    ),
    (
        "postgres://127.0.0.1",
        &[("PGUSER", "zoe"), ("PGDATABASE", "b")],
    ),
    (
        "postgres:///b",
        &[("PGUSER", "zoe"), ("PGDATABASE", "never")],
    ),
    ("postgres://carol@127.0.0.1:OTHER/b?user=dave&dbname=q", &[]),
    ("host=127.0.0.1 user=alice password='' dbname=b", &[]),
    ("user=alice passfile=HOME/named", &[]),
    ("host=localhost hostaddr=127.0.0.1 user=x dbname=b", &[]),
    (
        "hostaddr=127.0.0.1 user=x dbname=b",
        &[("PGHOST", "localhost")],
    ),
    (
        "user=x dbname=b",
        &[("PGHOSTADDR", "127.0.0.1"), ("PGHOST", "db.invalid")],
    ),
    ("user=x dbname=b", &[("PGPORT", "OTHER")]),
];

#[test]
fn i9_the_same_sources_lead_where_they_lead_psql() {
    if Command::new("psql").arg("--version").output().is_err() {
        eprintln!("skipped: there is no psql to compare with");
        return;
    }
    let servers = Servers::start();
    let home = tempfile::tempdir().unwrap();
    let [port, other] = servers.ports.map(|port| port.to_string());
    let filled = |text: &str| {
        let text = text.replace("HOME", &home.path().display().to_string());
        text.replace("OTHER", &other).replace("PORT", &port)
    };
    for (name, text, mode) in [
        (".pgpass", PASSFILE, 0o600),
        (".pg_service.conf", SERVICES, 0o600),
        ("named", "*:*:*:*:of-named\n", 0o600),
        ("open", "*:*:*:*:never\n", 0o644),
    ] {
        let file = home.path().join(name);
        fs::write(&file, filled(text)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }
    for (string, variables) in CASES {
        let string = filled(string);
        let with_environment = |mut command: Command| {
            command
                .env_clear()
                .env("HOME", home.path())
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("PGHOST", "127.0.0.1")
                .env("PGPORT", &port)
                .env("PGSSLMODE", "disable");
            command.envs(variables.iter().map(|(name, value)| (*name, filled(value))));
            command
        };
        let mut psql = with_environment(Command::new("psql"));
        psql.args(["-w", "-X", "-c", "SELECT 1"]);
        let mut own = with_environment(Command::new(env!("CARGO_BIN_EXE_agent-sync")));
        own.arg("check");
        if !string.is_empty() {
            psql.args(["-d", &string]);
            own.env("DATABASE_URL", &string);
        }
        let (expected, of_psql) = servers.of(&mut psql);
        let (found, told) = servers.of(&mut own);
        assert_eq!(expected.len(), 1, "{string} {variables:?}: {of_psql}");
        assert_eq!(found, expected, "{string} {variables:?}: {told}");
    }
}
