//! What somebody who typed an unknown key most likely meant.

use super::schema;

/// The remedy for an unknown key: a key of nearly that name, else what is known in its place.
///
/// `path` ends at the first part that is not known. `spell` writes a path the way its source does.
pub(crate) fn remedy(path: &[String], spell: impl Fn(&[String]) -> String) -> String {
    let Some((wrong, parent)) = path.split_last() else {
        return String::new();
    };
    let known = schema::children(parent);
    let near = known
        .iter()
        .map(|name| (likeness(wrong, name), *name))
        .filter(|(distance, name)| *distance <= 2.min(name.len() / 2))
        .min();
    if let Some((_, name)) = near {
        return format!("did you mean `{}`?", spell(&sibling(parent, name)));
    }
    // A key of that very name in another section: what a forgotten or misplaced section header
    // leads to.
    let elsewhere = schema::KEYS
        .iter()
        .find(|key| key.path.rsplit('.').next() == Some(wrong.as_str()));
    if let Some(key) = elsewhere {
        let database = parent
            .get(1)
            .filter(|_| parent[0] == "databases")
            .map_or("NAME", String::as_str);
        let parts: Vec<_> = key
            .path
            .split('.')
            .map(|part| if part == "*" { database } else { part }.to_owned())
            .collect();
        return format!("did you mean `{}`?", spell(&parts));
    }
    if known.is_empty() {
        return format!("`{}` holds a single value", spell(parent));
    }
    format!("known here: {}", known.join(", "))
}

/// How far a word is from a name, or from the beginning of it: `password` is near to
/// `password_file`.
fn likeness(wrong: &str, name: &str) -> usize {
    let whole = distance(wrong, name);
    match name.get(..wrong.len()) {
        Some(start) if wrong.len() > 3 => whole.min(distance(wrong, start) + 1),
        _ => whole,
    }
}

fn sibling(parent: &[String], name: &str) -> Vec<String> {
    parent.iter().cloned().chain([name.to_owned()]).collect()
}

/// How many letters to insert, drop, replace or swap to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
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
