//! Names that are similar to a mistyped one.

/// The distance of a similar name, without regard to case and outer white space; none for a name
/// that differs in more than two letters, or in more than a third of them.
pub fn distance(given: &str, name: &str) -> Option<usize> {
    let (given, name) = (folded(given), folded(name));
    let distance = strsim::osa_distance(&given, &name);
    let longest = given.chars().count().max(name.chars().count());
    (distance <= 2.min(longest / 3)).then_some(distance)
}

/// The name that is meant, if one is similar; of several the nearest, and of equal ones the first.
/// The start of a longer name counts as well: `password` is similar to `password_file`.
pub fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.filter_map(|name| {
        let starts = name.match_indices('_').map(|(at, _)| &name[..at]);
        let starts = starts.filter(|start| start.len() > 3);
        let starts = starts.filter_map(|start| Some(distance(given, start)? + 1));
        let least = starts.chain(distance(given, name)).min();
        Some((least.filter(|least| *least <= 2)?, name))
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_similar_after_a_slip_of_the_pen() {
        for (given, name, similar) in [
            ("acme", "acne", true),
            ("acme", "ACME ", true),
            ("acem-1", "acme-1", true),
            ("acme", "globex", false),
            ("1", "2", false),
            ("", "a", false),
            ("104", "14", true),
            ("a", "A", true),
            ("password", "password_file", false),
        ] {
            assert_eq!(distance(given, name).is_some(), similar, "{given} {name}");
        }
    }

    #[test]
    fn the_nearest_name_is_meant() {
        let names = ["slot", "slug", "slugs", "password_file", "url_file"];
        for (given, meant) in [
            ("slgu", Some("slug")),
            ("password", Some("password_file")),
            ("passwrod", Some("password_file")),
            ("pasword_file", Some("password_file")),
            ("url", None),
            ("voice", None),
        ] {
            assert_eq!(nearest(given, names.into_iter()), meant, "{given}");
        }
    }
}
