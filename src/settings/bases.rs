//! Where the relative paths of a settings file lead: beside the file, and for secrets first among
//! the credentials that systemd has loaded for the service.
//!
//! So one settings file serves the service, which may read its credentials and nothing else, and
//! root at the command line, who reads the files that these are loaded from.

use std::path::{Component, Path, PathBuf};

use super::kind::Kind;

/// The places; where there are none, a path is left as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bases<'a> {
    /// The directory of the settings file.
    pub(crate) directory: Option<&'a Path>,
    /// The directory of the credentials.
    pub(crate) credentials: Option<&'a Path>,
}

impl Bases<'_> {
    /// Where a path leads that a key of this kind holds.
    pub(crate) fn resolve(self, kind: Kind, text: &str) -> PathBuf {
        let credential = self
            .credentials
            .filter(|_| kind == Kind::SecretFile)
            .zip(name(text));
        let loaded = credential
            .map(|(directory, name)| directory.join(name))
            .filter(|path| path.exists());
        loaded.unwrap_or_else(|| {
            self.directory
                .map_or_else(|| text.into(), |directory| directory.join(text))
        })
    }
}

/// What systemd calls the credential of a relative path when it loads a whole directory:
/// `secrets_platform.url` for `./secrets/platform.url`, and for `../secrets/platform.url`, as a
/// file in `databases.d` has it.
fn name(text: &str) -> Option<String> {
    let mut parts = Vec::new();
    for component in Path::new(text).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if parts.is_empty() => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("_"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_credential_if_one_of_its_name_is_loaded_and_nothing_else_is() {
        let (directory, credentials) = (Path::new("/etc/agent-sync"), tempfile::tempdir().unwrap());
        let loaded = credentials.path().join("secrets_platform.url");
        std::fs::write(&loaded, "").unwrap();
        let bases = Bases {
            directory: Some(directory),
            credentials: Some(credentials.path()),
        };
        for (kind, text, expected) in [
            (Kind::SecretFile, "./secrets/platform.url", &*loaded),
            (
                Kind::SecretFile,
                "./secrets/other.url",
                Path::new("/etc/agent-sync/./secrets/other.url"),
            ),
            (
                Kind::Path,
                "./secrets/platform.url",
                Path::new("/etc/agent-sync/./secrets/platform.url"),
            ),
        ] {
            assert_eq!(bases.resolve(kind, text), expected, "{kind:?} {text}");
        }
        assert_eq!(
            Bases::default().resolve(Kind::Path, "./x"),
            Path::new("./x"),
            "left as it is"
        );
    }

    #[test]
    fn a_relative_path_has_the_name_of_a_credential_and_no_other_has() {
        for (text, expected) in [
            ("./secrets/platform.url", Some("secrets_platform.url")),
            ("./platform.url", Some("platform.url")),
            ("/etc/agent-sync/platform.url", None),
            ("../secrets/platform.url", Some("secrets_platform.url")),
            ("./secrets/../platform.url", None),
            (".", None),
            ("..", None),
        ] {
            assert_eq!(name(text).as_deref(), expected, "{text}");
        }
    }
}
