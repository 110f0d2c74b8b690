//! The service file of libpq, `pg_service.conf`: parameters of connections under the names of
//! services. PostgreSQL's manual describes it under The Connection Service File.
//!
//! Invariant: no text of the file is part of an error.

use std::path::{Path, PathBuf};

use super::Filled;
use crate::settings::bounded;
use crate::settings::mistake::Mistake;

/// The parameters of a service, from the first of the files that has it. A file that must exist
/// comes with `true`.
pub(crate) fn find(service: &str, files: &[(PathBuf, bool)]) -> Result<Vec<Filled>, Mistake> {
    for (file, must_exist) in files {
        if !must_exist && !file.try_exists().unwrap_or(true) {
            continue;
        }
        let text = bounded::read_text(file).map_err(|error| {
            let remedy = "name a service file that this user can read, or unset PGSERVICEFILE";
            Mistake::new(
                "",
                file.display().to_string(),
                format!("cannot be read: {error}"),
            )
            .remedy(remedy)
        })?;
        if let Some(lines) = section(file, &text, service)? {
            return Ok(lines);
        }
    }
    let files: Vec<_> = files
        .iter()
        .map(|(file, _)| file.display().to_string())
        .collect();
    let what = format!(
        "expected a section with the name of the service in {}, found none",
        files.join(" or ")
    );
    Err(Mistake::new("", "", what).remedy("correct the name, or add the section `[NAME]`"))
}

/// The lines of the section of a service; none if the file has no such section.
fn section(file: &Path, text: &str, service: &str) -> Result<Option<Vec<Filled>>, Mistake> {
    let mut found: Option<Vec<Filled>> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if name
                .strip_prefix(service)
                .is_some_and(|rest| rest.starts_with(']'))
            {
                found = Some(Vec::new());
            }
            continue;
        }
        let Some(lines) = &mut found else { continue };
        let origin = format!("{}:{}", file.display(), index + 1);
        let wrong = |what: &str, remedy: &str| Mistake::new("", &*origin, what).remedy(remedy);
        let (name, value) = match line.split_once('=') {
            _ if line.starts_with("ldap") => {
                let what = "expected parameters, found a lookup by LDAP";
                return Err(wrong(what, "write the parameters into the file"));
            }
            None => {
                let what = "expected `parameter=value`, found a line without `=`";
                return Err(wrong(what, "correct the line"));
            }
            Some(("service" | "servicefile", _)) => {
                let what = "expected parameters of a connection, found the name of another service";
                return Err(wrong(what, "take the line out"));
            }
            Some(pair) => pair,
        };
        // As in libpq, the first line of a parameter counts.
        if !lines.iter().any(|line| line.name == name) {
            lines.push(Filled {
                name: name.to_owned(),
                value: value.to_owned(),
                origin,
                is_of_service: true,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\nhost=nowhere\n[one]\nhost=a\n\n  port=1  \nhost=b\n\
        [two]\nhost=c \
        d\n[one]\nuser=never\n[broken]\nhunter2\n[nested]\nservice=one\n[ldap]\nldap://hunter2\n";

    fn read(service: &str) -> Result<Option<String>, String> {
        let lines =
            section(Path::new("/f"), FILE, service).map_err(|mistake| mistake.to_string())?;
        Ok(lines.map(|lines| {
            let lines = lines
                .iter()
                .map(|line| format!("{}={} {}", line.name, line.value, line.origin));
            lines.collect::<Vec<_>>().join("; ")
        }))
    }

    #[test]
    fn a_service_has_the_lines_of_its_first_section() {
        for (service, expected) in [
            ("one", Some("host=a /f:4; port=1 /f:6")),
            ("two", Some("host=c d /f:9")),
            ("three", None),
            ("on", None),
            ("", None),
        ] {
            assert_eq!(read(service).unwrap().as_deref(), expected, "{service}");
        }
    }

    #[test]
    fn a_mistake_is_told_by_its_line_alone() {
        for (service, told) in [
            (
                "broken",
                "/f:13: expected `parameter=value`, found a line without `=`; correct the line",
            ),
            ("nested", "/f:15: expected parameters of a connection"),
            ("ldap", "/f:17: expected parameters, found a lookup by LDAP"),
        ] {
            let error = read(service).unwrap_err();
            assert!(
                error.starts_with(told) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
