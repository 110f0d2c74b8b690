//! Relative paths of a settings file: they start at the directory of the file, and for secrets
//! first at the credentials that systemd has loaded for the service.
//!
//! So one settings file serves the service, which may read its credentials and nothing else, and
//! root at the command line, who reads the files behind the credentials.

use std::path::{Component, Path, PathBuf};

use super::value_type::ValueType;

/// Resolves relative paths. Without directories it leaves a path as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PathResolver<'a> {
    /// The directory of the settings file.
    pub(crate) directory: Option<&'a Path>,
    /// The directory of the credentials.
    pub(crate) credentials: Option<&'a Path>,
}

impl PathResolver<'_> {
    /// Resolves the text of a value of this type, if that is a path; none if the directory is not
    /// UTF-8.
    pub(crate) fn resolve(self, value_type: ValueType, text: String) -> Option<String> {
        let path = match (value_type, self.directory) {
            (ValueType::SecretFile, Some(directory)) => self
                .credential(&text)
                .unwrap_or_else(|| joined(directory, &text)),
            (ValueType::Path, Some(directory)) => joined(directory, &text),
            _ => return Some(text),
        };
        path.into_os_string().into_string().ok()
    }

    /// The credential for a relative path, if systemd has loaded it.
    fn credential(self, text: &str) -> Option<PathBuf> {
        let path = self.credentials?.join(credential_name(text)?);
        path.exists().then_some(path)
    }
}

/// The path from the directory, without the `.` between two names: `/etc/agent-sync/secrets/x` for
/// `./secrets/x`.
fn joined(directory: &Path, text: &str) -> PathBuf {
    directory.join(text).components().collect()
}

/// The name of the credential for a relative path when systemd loads a whole directory:
/// `secrets_platform.url` for `./secrets/platform.url`, and for `../secrets/platform.url` in a file
/// of `databases.d`.
fn credential_name(text: &str) -> Option<String> {
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
        let paths = PathResolver {
            directory: Some(directory),
            credentials: Some(credentials.path()),
        };
        for (value_type, text, expected) in [
            (ValueType::SecretFile, "./secrets/platform.url", &*loaded),
            (
                ValueType::SecretFile,
                "./secrets/other.url",
                Path::new("/etc/agent-sync/secrets/other.url"),
            ),
            (
                ValueType::Path,
                "./secrets/platform.url",
                Path::new("/etc/agent-sync/secrets/platform.url"),
            ),
        ] {
            let resolved = paths.resolve(value_type, text.to_owned());
            assert_eq!(
                resolved.as_deref(),
                expected.to_str(),
                "{value_type:?} {text}"
            );
        }
        let resolved = PathResolver::default().resolve(ValueType::Path, "./x".to_owned());
        assert_eq!(resolved.as_deref(), Some("./x"), "left as it is");
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
            assert_eq!(credential_name(text).as_deref(), expected, "{text}");
        }
    }
}
