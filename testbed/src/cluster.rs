//! A throwaway PostgreSQL cluster in a temporary directory.
//!
//! Authority: the keeper, a small shell that alone starts and stops the server. It holds one end of
//! a pipe; when this process ends for any reason, the other end closes, and the keeper stops the
//! server and removes the directory. So nothing is left behind, not even after SIGKILL.
//!
//! PostgreSQL refuses to run as root: started by root, the server runs as `postgres` (or `nobody`)
//! instead. The server trusts every local user. It listens on a socket in its directory, and on TCP
//! only on request.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::template;

/// Creates and starts the server, prints `ready`, waits for the end of its standard input, and
/// cleans up. It ignores Ctrl-C. After initdb it prints `made` and waits for a line, so that the
/// data directory can be kept as a template before the server starts.
const KEEPER: &str = r#"
trap '' INT TERM HUP PIPE
cd "$1" || exit 1
make() {
    if [ -n "$4" ]
    then "$2/pg_basebackup" -D data -R -X stream -c fast --no-sync -U postgres \
        -h "$4" -p "$5" >log 2>&1
    elif [ -d "$3" ] && cp -R "$3" data >log 2>&1
    then :
    else
        rm -rf data
        "$2/initdb" -D data -U postgres -A trust -E UTF8 --locale=C --no-sync >log 2>&1 &&
            echo made && read -r _
    fi
}
if make "$@" &&
    cat settings >>data/postgresql.conf &&
    "$2/pg_ctl" -D data -l log -w -t 60 start >/dev/null 2>&1
then echo ready; cat >/dev/null; "$2/pg_ctl" -D data -m immediate -w stop >/dev/null 2>&1
else tail -n 5 log | tr '\n' ' '
fi
cd / && rm -rf "$1"
"#;

/// The settings of a throwaway cluster: no wait for the disk, and many connections.
const SETTINGS: &str = "\
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 300
shared_buffers = 64MB
log_min_messages = warning
log_error_verbosity = verbose
";

/// The reason why a cluster cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No server programs were found.
    #[error(
        "expected PostgreSQL's server programs (initdb, pg_ctl, postgres) in $PG_BINDIR, on the \
        PATH or below /usr/lib/postgresql, and found none: install them, on Debian with `apt-get \
        install postgresql`"
    )]
    NoServer,
    /// There is no user to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody` to \
        run it as"
    )]
    NoUser,
    /// The server did not start; the end of its log.
    #[error("the throwaway PostgreSQL did not start; the end of its log: {0}")]
    DidNotStart(String),
    /// A call of the operating system failed.
    #[error("could not {0}")]
    System(&'static str, #[source] std::io::Error),
}

/// The options of a cluster.
#[derive(Debug, Default, Clone, Copy)]
pub struct Options<'a> {
    /// Whether the server also listens on a free port of 127.0.0.1.
    pub tcp: bool,
    /// Additional lines for `postgresql.conf`; the last line of a setting wins.
    pub settings: &'a str,
    /// Files for the server, such as certificates: names and contents. They are in the parent of
    /// the data directory, so `settings` refers to them as `../NAME`.
    pub files: &'a [(&'a str, &'a str)],
}

/// A running server. Dropping it stops the server and removes its directory.
#[derive(Debug)]
pub struct Cluster {
    keeper: Child,
    folder: PathBuf,
    binaries: PathBuf,
    user: Option<(u32, u32)>,
    tcp_port: Option<u16>,
}

impl Cluster {
    /// Creates a cluster and starts it.
    pub fn start(options: Options<'_>) -> Result<Self, ClusterError> {
        Self::make(options, None)
    }

    /// Creates a streaming standby of this cluster and starts it; `control(&["promote"])` promotes
    /// it.
    pub fn standby(&self, options: Options<'_>) -> Result<Self, ClusterError> {
        Self::make(options, Some(self))
    }

    fn make(options: Options<'_>, primary: Option<&Self>) -> Result<Self, ClusterError> {
        let binaries = find_binaries().ok_or(ClusterError::NoServer)?;
        let user = server_user()?;
        let tcp_port = options.tcp.then(free_port).transpose()?;
        let folder = prepare(options, tcp_port, user)?;

        let template = template::path(&binaries, user);
        let mut command = as_user(Command::new("/bin/sh"), user);
        command
            .args(["-c", KEEPER, "keeper"])
            .arg(folder.path())
            .arg(&binaries)
            .arg(template.as_deref().unwrap_or(Path::new("")));
        if let Some(primary) = primary {
            command.arg(&primary.folder).arg(primary.port().to_string());
        }
        command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut keeper = command
            .spawn()
            .map_err(|error| ClusterError::System("start a shell", error))?;
        // From here on the keeper removes the directory.
        let folder = folder.keep();

        let answer = hear(&mut keeper, || {
            if let Some(template) = &template {
                template::keep(&folder.join("data"), template);
            }
        });
        let answer = answer.map_err(|error| ClusterError::System("hear from the server", error))?;
        let cluster = Self {
            keeper,
            folder,
            binaries,
            user,
            tcp_port,
        };
        if answer.trim() == "ready" {
            Ok(cluster)
        } else {
            Err(ClusterError::DidNotStart(answer))
        }
    }

    /// The directory of the socket, the `-h` argument of psql.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The TCP port, or the port in the name of the socket.
    pub fn port(&self) -> u16 {
        self.tcp_port.unwrap_or(5432)
    }

    /// The URL of a database over the socket, for the superuser.
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port())
    }

    /// The URL of a database over TCP, for the superuser.
    pub fn tcp_url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port())
    }

    /// Runs `pg_ctl`, for instance with `["-m", "fast", "restart"]`, and waits for its end.
    pub fn control(&self, arguments: &[&str]) -> std::io::Result<()> {
        let status = self.controlling(arguments).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(std::io::Error::other(format!(
                "pg_ctl {} failed: {status}",
                arguments.join(" ")
            )))
        }
    }

    /// The command of [`Cluster::control`], for a caller that must not block.
    pub fn controlling(&self, arguments: &[&str]) -> Command {
        let mut command = as_user(Command::new(self.binaries.join("pg_ctl")), self.user);
        command
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg("-w")
            .arg("-l")
            .arg(self.folder.join("log"));
        // As at the first start, because the server looks for `hba_file` from there.
        command.args(arguments).current_dir(&self.folder);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Whether the server's installation has this program.
    pub fn has_program(&self, name: &str) -> bool {
        self.binaries.join(name).is_file()
    }

    /// A client or server program, such as `psql`, run as the server's user: from the server's
    /// installation, or else from the PATH.
    pub fn program(&self, name: &str) -> Command {
        let own = self.binaries.join(name);
        let mut command = as_user(
            Command::new(if own.is_file() { own } else { name.into() }),
            self.user,
        );
        command.current_dir("/");
        command
    }

    /// The server's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // The keeper limits its own run time; it ends when the server is stopped and the directory
        // removed.
        let _ = self.keeper.wait();
    }
}

/// The last line of the keeper's start: `ready`, or why the server did not start. Runs `made` once
/// the data directory was made.
fn hear(keeper: &mut Child, made: impl FnOnce()) -> std::io::Result<String> {
    let (Some(output), Some(input)) = (keeper.stdout.take(), keeper.stdin.as_mut()) else {
        return Ok(String::new());
    };
    let mut output = BufReader::new(output);
    let mut answer = String::new();
    output.read_line(&mut answer)?;
    if answer.trim() == "made" {
        made();
        input.write_all(b"\n")?;
        answer.clear();
        output.read_line(&mut answer)?;
    }
    Ok(answer)
}

/// Creates the directory of a server with its settings and files.
fn prepare(
    options: Options<'_>,
    tcp_port: Option<u16>,
    user: Option<(u32, u32)>,
) -> Result<TempDir, ClusterError> {
    let folder = tempfile::Builder::new()
        .prefix("agent-sync-")
        .tempdir()
        .map_err(|error| ClusterError::System("make a temporary folder", error))?;
    let path = folder.path();
    let address = match tcp_port {
        Some(port) => format!("listen_addresses = '127.0.0.1'\nport = {port}\n"),
        // Overrides PGPORT of the environment.
        None => "listen_addresses = ''\nport = 5432\n".to_owned(),
    };
    let settings = format!(
        "{SETTINGS}unix_socket_directories = '{}'\n{address}{}\n",
        path.display(),
        options.settings
    );
    let fill = || {
        std::fs::write(path.join("settings"), settings)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
        if let Some((uid, gid)) = user {
            chown(path, Some(uid), Some(gid))?;
        }
        let mut files = options.files.iter();
        files.try_for_each(|(name, content)| put(&path.join(name), content, user))
    };
    fill().map_err(|error| ClusterError::System("prepare the folder of the server", error))?;
    Ok(folder)
}

/// Writes a file that only the server can read.
fn put(path: &Path, content: &str, user: Option<(u32, u32)>) -> std::io::Result<()> {
    std::fs::write(path, content)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    user.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid)))
}

fn as_user(mut command: Command, user: Option<(u32, u32)>) -> Command {
    for name in [
        "PGPORT",
        "PGHOST",
        "PGDATA",
        "PGUSER",
        "PGDATABASE",
        "PGOPTIONS",
    ] {
        command.env_remove(name);
    }
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// The user for the server; `None` if this process is not root and can run it itself.
fn server_user() -> Result<Option<(u32, u32)>, ClusterError> {
    let system = |error| ClusterError::System("read /etc/passwd", error);
    let status = std::fs::read_to_string("/proc/self/status").map_err(system)?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    if effective != Some("0") {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd").map_err(system)?;
    let ids_of = |name: &str| {
        let mut fields = accounts
            .lines()
            .find(|line| line.split(':').next() == Some(name))?
            .split(':')
            .skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids_of("postgres")
        .or_else(|| ids_of("nobody"))
        .map(Some)
        .ok_or(ClusterError::NoUser)
}

/// The directory of the newest installed server programs, unless `$PG_BINDIR` or the `PATH` names
/// one.
fn find_binaries() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| {
        ["initdb", "pg_ctl", "postgres"]
            .iter()
            .all(|name| folder.join(name).is_file())
    };
    if let Some(chosen) = std::env::var_os("PG_BINDIR") {
        return Some(PathBuf::from(chosen)).filter(complete);
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).find(|folder| folder.is_absolute() && complete(folder))
    });
    let version = |folder: &PathBuf| {
        folder
            .parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str()?.parse::<u32>().ok())
    };
    // A link on the PATH leads to the directory of the other programs.
    let on_path = on_path.map(|folder| {
        let real = folder
            .join("postgres")
            .canonicalize()
            .ok()
            .and_then(|file| Some(file.parent()?.to_owned()));
        real.filter(complete).unwrap_or(folder)
    });
    on_path.or_else(|| {
        let installed = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let folders = installed.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
        folders.filter(complete).max_by_key(version)
    })
}

fn free_port() -> Result<u16, ClusterError> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| ClusterError::System("find a free port", error))
}
