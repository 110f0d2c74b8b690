//! The known key that is meant with an unknown one.

use super::schema;
use crate::similar::nearest;

/// The remedy for an unknown key: a key of a similar name, else the names that are known there.
///
/// `path` ends at its first unknown part. `spell` writes a path in the notation of its source.
pub(crate) fn remedy(path: &[String], spell: impl Fn(&[String]) -> String) -> String {
    let Some((wrong, parent)) = path.split_last() else {
        return String::new();
    };
    let known = schema::children(parent);
    if let Some(name) = nearest(wrong, known.iter().copied()) {
        let near = [parent, &[name.to_owned()]].concat();
        return format!("did you mean `{}`?", spell(&near));
    }
    // A forgotten or misplaced section header puts a key into another section.
    let elsewhere = schema::keys().find(|key| key.path.rsplit('.').next() == Some(wrong.as_str()));
    if let Some(key) = elsewhere {
        let database = match parent {
            [first, name, ..] if first == "databases" => name,
            _ => "NAME",
        };
        let parts = key.path.split('.');
        let parts: Vec<_> = parts
            .map(|part| if part == "*" { database } else { part }.to_owned())
            .collect();
        return format!("did you mean `{}`?", spell(&parts));
    }
    if known.is_empty() {
        return format!("`{}` holds a single value", spell(parent));
    }
    format!("known here: {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggestion(dotted: &str) -> String {
        let path: Vec<_> = dotted.split('.').map(str::to_owned).collect();
        remedy(&path, |path| path.join("."))
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        assert_eq!(suggestion("log.fromat"), "did you mean `log.format`?");
        assert_eq!(
            suggestion("databases.eu.password"),
            "did you mean `databases.eu.password_file`?"
        );
        assert_eq!(
            suggestion("databases.eu.passwrod"),
            "did you mean `databases.eu.password_file`?"
        );
        assert_eq!(suggestion("databses"), "did you mean `databases`?");
        assert_eq!(
            suggestion("databases.eu.agents.columns.slugs"),
            "did you mean `databases.eu.agents.columns.slug`?"
        );
    }

    #[test]
    fn a_key_in_the_wrong_section_is_found() {
        assert_eq!(suggestion("batch_size"), "did you mean `sync.batch_size`?");
        assert_eq!(
            suggestion("url_file"),
            "did you mean `databases.NAME.url_file`?"
        );
        assert_eq!(
            suggestion("databases.eu.voice_id"),
            "did you mean `databases.eu.configurations.columns.voice_id`?"
        );
    }

    #[test]
    fn otherwise_the_known_keys_are_listed() {
        assert_eq!(suggestion("log.colour"), "known here: format, level");
        assert_eq!(
            suggestion("log.level.x"),
            "`log.level` holds a single value"
        );
    }
}
