//! Files with a secret that more people can read or change than should.
//!
//! A file that anybody can change is told of wherever it is. One that anybody can read, or its
//! group can change, is not where a supervisor has put it: below `/run` (secrets of Docker and
//! Podman, credentials of systemd), and in a volume of Kubernetes, whose files are links through a
//! folder such as `..2026_01_31`. Modes of 0444 and 0644 are usual there, and nobody else is in
//! that place. A file that its group can only read is in order: that is how a settings file belongs
//! to root and to the group of the daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use super::problem::shown;

/// A file with a secret, and who can do what to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The database whose secret it is.
    pub database: String,
    /// The file, as the settings name it.
    pub file: PathBuf,
    /// Who can do what.
    pub access: &'static str,
}

impl Exposed {
    /// What is said of the file, if there is anything to say.
    pub(super) fn of(database: &str, file: &Path) -> Option<Self> {
        let mode = fs::metadata(file).ok()?.permissions().mode();
        let provided = fs::canonicalize(file).is_ok_and(|file| is_provided(&file));
        let access = access(mode, provided)?;
        Some(Self {
            database: database.to_owned(),
            file: file.to_owned(),
            access,
        })
    }

    /// In a sentence.
    pub fn text(&self) -> String {
        format!(
            "{} holds a secret, and {}",
            self.file.display(),
            self.access
        )
    }

    /// What the operator can do.
    pub fn remedy(&self) -> String {
        let file = shown(&self.file.display().to_string());
        format!(
            "Take that away: chmod g-w,o-rwx {file}; and change the secret if somebody may have \
            seen it."
        )
    }
}

/// Who can do too much with a file of this mode.
fn access(mode: u32, provided: bool) -> Option<&'static str> {
    match mode {
        _ if mode & 0o002 != 0 => Some("every user of this machine can change it"),
        _ if provided => None,
        _ if mode & 0o004 != 0 => Some("every user of this machine can read it"),
        _ if mode & 0o020 != 0 => Some("every member of its group can change it"),
        _ => None,
    }
}

/// Whether a supervisor has put the file there, for this process alone. The path is without links.
fn is_provided(file: &Path) -> bool {
    let is_version = |part: Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b"..");
    file.starts_with("/run") || file.starts_with("/var/run") || file.components().any(is_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s16_a_mode_is_told_where_others_can_read_or_change() {
        const READ: Option<&str> = Some("every user of this machine can read it");
        const CHANGE: Option<&str> = Some("every user of this machine can change it");
        const GROUP: Option<&str> = Some("every member of its group can change it");
        for (mode, elsewhere, provided) in [
            (0o600, None, None),
            (0o400, None, None),
            (0o640, None, None),
            (0o440, None, None),
            (0o644, READ, None),
            (0o444, READ, None),
            (0o664, READ, None),
            (0o660, GROUP, None),
            (0o666, CHANGE, CHANGE),
            (0o602, CHANGE, CHANGE),
        ] {
            assert_eq!(
                (access(mode, false), access(mode, true)),
                (elsewhere, provided),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn s16_what_a_supervisor_provides_is_known_by_its_place() {
        for (file, provided) in [
            ("/run/secrets/platform_url", true),
            ("/run/credentials/agent-sync.service/url", true),
            (
                "/etc/agent-sync/secrets/..2026_01_31_10_00_00.123/url",
                true,
            ),
            ("/etc/agent-sync/platform.url", false),
            ("/etc/run/url", false),
            ("/home/ada/..url/secret", true),
            ("/runner/url", false),
        ] {
            assert_eq!(is_provided(Path::new(file)), provided, "{file}");
        }
    }
}
