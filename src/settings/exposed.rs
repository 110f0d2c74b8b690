//! Files with a secret, and other files of the settings, that more people can read or change than
//! should.
//!
//! A file that every user can change is reported in any place. A file that every user can read, or
//! that its group can change, is not reported where a supervisor provides it: below `/run` (secrets
//! of Docker and Podman, credentials of systemd), and in a volume of Kubernetes, whose files are
//! links through a folder such as `..2026_01_31`. Modes of 0444 and 0644 are usual there, and no
//! other user has access. A file that its group can only read is in order: a settings file belongs
//! to root and to the group of the daemon in this way.
//!
//! Elsewhere, the owner of the file counts as well. So do the mode and the owner of its folder, by
//! its name and behind links: the owner of a folder, and every user where all can write to it, can
//! replace the file.
//!
//! A file without a secret is reported only if every user can change or replace it, as is the
//! directory `databases.d` if every user can add a file: settings can name a program to run.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::mistake::shown;

/// A file of the settings, and the access that other users have to it and should not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The database whose secret it is, or one that is configured by it.
    pub database: String,
    /// The file, as the settings name it.
    pub file: PathBuf,
    /// The access, in words.
    pub access: &'static str,
    /// Whether it holds a secret.
    pub is_secret: bool,
    /// The command that removes the access.
    mend: String,
}

impl Exposed {
    /// The report on a file; none if no other user has too much access.
    pub(super) fn of(database: &str, file: &Path) -> Option<Self> {
        let (access, mend) = fault(file)?;
        Some(Self {
            database: database.to_owned(),
            file: file.to_owned(),
            access,
            is_secret: true,
            mend,
        })
    }

    /// The report on a file without a secret, or on a directory; none if only some users can change
    /// it.
    pub(super) fn without_secret(database: &str, file: &Path) -> Option<Self> {
        let (access, mend) = open_to_all(file)?;
        Some(Self {
            database: database.to_owned(),
            file: file.to_owned(),
            access,
            is_secret: false,
            mend,
        })
    }

    /// In a sentence.
    pub fn text(&self) -> String {
        let what = if self.is_secret {
            "holds a secret"
        } else {
            "is a part of the settings"
        };
        format!("{} {what}, and {}", self.file.display(), self.access)
    }

    /// The remedy.
    pub fn remedy(&self) -> String {
        let mend = &self.mend;
        if !self.is_secret {
            return format!("Remove the access: {mend}.");
        }
        format!(
            "Remove the access: {mend}; and change the secret if another user may have read \
            it."
        )
    }
}

const CHANGE: &str = "every user of this machine can change it";
const ADD: &str = "every user of this machine can add a file to it";
const OWNED: &str = "a user who is neither root nor the one of this program owns it";
const OWNED_FOLDER: &str = "a user who is neither root nor the one of this program owns its \
    directory, and so can replace it";
const OPEN_FOLDER: &str =
    "every user of this machine can write to its directory, and so replace it";

/// The owner that Linux shows for a user without a number here, in a container without root.
const OVERFLOW: u32 = 65534;

fn command(words: &str, path: &Path) -> String {
    format!("{words} {}", shown(&path.display().to_string()))
}

/// The access to a file that is too much, and the command that removes it.
fn fault(file: &Path) -> Option<(&'static str, String)> {
    let metadata = fs::metadata(file).ok()?;
    let real = fs::canonicalize(file).ok();
    let provided = real.as_deref().is_some_and(is_provided);
    if let Some(access) = access(metadata.mode(), provided) {
        return Some((access, command("chmod g-w,o-rwx", file)));
    }
    if provided {
        return None;
    }
    if is_of_another(&metadata) {
        return Some((OWNED, command("chown root", file)));
    }
    let files = [Some(file), real.as_deref()].into_iter().flatten();
    files.filter_map(folder_of).find_map(|folder| {
        let metadata = fs::metadata(folder).ok()?;
        if is_open(metadata.mode()) {
            return Some((OPEN_FOLDER, command("chmod o-w", folder)));
        }
        is_of_another(&metadata).then(|| (OWNED_FOLDER, command("chown root", folder)))
    })
}

/// The folder of a file; that of a bare name is the present one.
fn folder_of(file: &Path) -> Option<&Path> {
    let folder = file.parent()?;
    let is_named = !folder.as_os_str().is_empty();
    Some(if is_named { folder } else { Path::new(".") })
}

/// The access of every user to a file or directory, and the command that removes it.
fn open_to_all(file: &Path) -> Option<(&'static str, String)> {
    let metadata = fs::metadata(file).ok()?;
    if metadata.mode() & 0o002 != 0 {
        let access = if metadata.is_dir() { ADD } else { CHANGE };
        return Some((access, command("chmod o-w", file)));
    }
    let folder = folder_of(file)?;
    let is_open = is_open(fs::metadata(folder).ok()?.mode());
    is_open.then(|| (OPEN_FOLDER, command("chmod o-w", folder)))
}

/// Whether the owner is a user besides root and the user of this process, as far as Linux shows it.
fn is_of_another(metadata: &Metadata) -> bool {
    let own = fs::metadata("/proc/self").map(|process| process.uid());
    let owner = metadata.uid();
    owner != 0 && owner != OVERFLOW && own.is_ok_and(|own| own != owner)
}

/// Whether every user can replace the files in a folder of this mode. With the sticky bit, as in
/// `/tmp`, only the owner of a file can.
fn is_open(mode: u32) -> bool {
    mode & 0o002 != 0 && mode & 0o1000 == 0
}

/// The access that a file of this mode gives to too many users.
fn access(mode: u32, provided: bool) -> Option<&'static str> {
    match mode {
        _ if mode & 0o002 != 0 => Some(CHANGE),
        _ if provided => None,
        _ if mode & 0o004 != 0 => Some("every user of this machine can read it"),
        _ if mode & 0o020 != 0 => Some("every member of its group can change it"),
        _ => None,
    }
}

/// Whether a supervisor provides the file to this process alone. The path is without links.
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
    fn s16_a_folder_is_open_where_everybody_can_replace_what_is_in_it() {
        for (mode, open) in [
            (0o755, false),
            (0o775, false),
            (0o1777, false),
            (0o777, true),
            (0o757, true),
            (0o702, true),
        ] {
            assert_eq!(is_open(mode), open, "{mode:o}");
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
