//! Texts and remedies for the problem of an agent.

use crate::key::Key;
use crate::observe::Pause;
use crate::settings::{Database, UNNAMED};
use crate::show::{count, quoted, shorten};
use crate::store::Remedies;
use crate::survey::Verdict;

/// The largest width of a slug or a tenant in the text output, in columns; JSON has all of it.
pub const LONGEST_SHOWN: usize = 400;

/// The remedy for a problem of this kind with this reason.
pub fn remedy(
    database: &Database,
    problem: (&str, &str),
    sqlstate: Option<&str>,
    key: &Key<'_>,
) -> String {
    Remedies::new(&database.configurations)
        .of(problem, sqlstate, key)
        .into_owned()
}

/// The remedy for an agent with this verdict, whose problem is noted with the reason `noted`;
/// `None` if no action is needed.
pub fn remedy_of(
    database: &Database,
    (verdict, noted): (Verdict, &str),
    led: bool,
    key: &Key<'_>,
) -> Option<String> {
    match verdict {
        Verdict::InSync => None,
        Verdict::Pending if led => None,
        Verdict::Pending => Some(format!(
            "{START}, or run {}.",
            reconcile(&database.name, key)
        )),
        Verdict::Drifted => Some(format!("Run {}.", reconcile(&database.name, key))),
        Verdict::Missing | Verdict::Rejected | Verdict::Ambiguous => Some(remedy(
            database,
            (verdict.problem().unwrap_or_default(), noted),
            None,
            key,
        )),
    }
}

/// The command that brings an agent of this database in sync, to run. A slug that no shell takes as
/// text comes from standard input, one a line.
pub fn reconcile(database: &str, key: &Key<'_>) -> String {
    if let Some(arguments) = arguments(database, key) {
        return format!("`agent-sync reconcile {arguments}`");
    }
    let scope = scope(database);
    if key.slug.contains(['\n', '\r']) {
        return format!("`agent-sync reconcile {scope}--all`");
    }
    let tenant = key.tenant.as_deref().map(quoted_for_shell);
    let (tenant, name) = match tenant {
        None => (String::new(), "the slug"),
        Some(Some(tenant)) => (format!("--tenant={tenant} "), "the slug"),
        Some(None) => (String::new(), "tenant/slug"),
    };
    format!("`agent-sync reconcile {scope}{tenant}--slugs-from -` with {name} on standard input")
}

/// The command that tells of an agent of this database, to run.
pub fn why(database: &str, key: &Key<'_>) -> String {
    arguments(database, key).map_or_else(
        || "`agent-sync why` with this slug".to_owned(),
        |arguments| format!("`agent-sync why {arguments}`"),
    )
}

/// The arguments that name an agent of this database to a command, quoted for a shell; none where a
/// shell could take them for something else.
///
/// The name of the database is left out where a connection string alone has made it, because there
/// is no other one then.
fn arguments(database: &str, key: &Key<'_>) -> Option<String> {
    let database = scope(database);
    let dashes = if key.slug.starts_with('-') { "-- " } else { "" };
    let slug = format!("{dashes}{}", quoted_for_shell(key.slug)?);
    Some(match &key.tenant {
        Some(tenant) => format!("{database}--tenant={} {slug}", quoted_for_shell(tenant)?),
        None => format!("{database}{slug}"),
    })
}

/// The option that names the database to a command, with a blank behind it.
pub fn scope(database: &str) -> String {
    match quoted_for_shell(database) {
        Some(name) if database != UNNAMED => format!("--database={name} "),
        _ => String::new(),
    }
}

/// The text as one word for any POSIX shell; none for a text that a message cannot hold as it is.
/// An escape in `$'…'` is text to a shell such as dash, and an end of the word can follow it.
fn quoted_for_shell(text: &str) -> Option<String> {
    let plain = |c: char| c.is_alphanumeric() || "._/:@%+-".contains(c);
    if text.contains(crate::mapping::disturbs_message) {
        None
    } else if !text.is_empty() && text.chars().all(plain) {
        Some(text.to_owned())
    } else {
        Some(format!("'{}'", text.replace('\'', r"'\''")))
    }
}

/// The tenant behind the slug; nothing where there is none.
pub fn of_tenant(key: &Key<'_>) -> String {
    let tenant = key.tenant.as_deref();
    let tenant = tenant.map(|tenant| format!(" of tenant {}", quoted(tenant)));
    shorten(&tenant.unwrap_or_default(), LONGEST_SHOWN)
}

/// The remedy while no daemon leads in a database that is not paused.
pub const START: &str = "Start the daemon (`agent-sync run`)";

/// The remedy while no daemon leads.
pub fn without_leader(is_paused: bool) -> String {
    if is_paused {
        Pause::REMEDY.to_owned()
    } else {
        format!("{START}.")
    }
}

/// The sentence about a problem that `number` agents have; `some` are the names to print.
pub fn sentence(kind: &str, number: i64, some: &[String]) -> String {
    let names: Vec<_> = some.iter().map(|slug| quoted(slug)).collect();
    let more = number - i64::try_from(some.len()).unwrap_or(0);
    let names = if more > 0 {
        format!("{} and {} more", names.join(", "), count(more))
    } else {
        names.join(", ")
    };
    let (agents, have, are) = if number == 1 {
        ("agent", "has", "is")
    } else {
        ("agents", "have", "are")
    };
    let what = match kind {
        "missing_configuration" => format!("{agents} {have} no configuration"),
        "rejected" => format!("{agents} {are} rejected, and nothing is written for them"),
        "ambiguous" => {
            let slugs = if number == 1 { "slug is" } else { "slugs are" };
            format!("{slugs} shared by several agents, so nothing is written for them")
        }
        _ => format!("{agents} could not be brought in sync"),
    };
    format!("{} {what}: {names}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_can_be_pasted_into_a_shell() {
        for (slug, shell) in [
            ("pizzeria-da-nino", "pizzeria-da-nino"),
            ("it's new", r"'it'\''s new'"),
            ("-x", "-- -x"),
            ("", "''"),
            ("$(rm)", "'$(rm)'"),
        ] {
            let mut key = Key { tenant: None, slug };
            let are = |database: &str, key: &Key<'_>, expected: String| {
                let command = format!("`agent-sync reconcile {expected}`");
                assert_eq!(reconcile(database, key), command);
                assert_eq!(why(database, key), format!("`agent-sync why {expected}`"));
            };
            are("default", &key, shell.to_owned());
            are("eu", &key, format!("--database=eu {shell}"));
            key.tenant = Some("it's".into());
            let tenant = r"--tenant='it'\''s'";
            are("default", &key, format!("{tenant} {shell}"));
            are("eu", &key, format!("--database=eu {tenant} {shell}"));
        }
    }

    #[test]
    fn s10_a_slug_that_a_shell_could_run_is_no_part_of_a_command() {
        for slug in ["\u{1b}'", "a\u{200e}", "a`curl x | sh`b", r"x`\'; id; #"] {
            let mut key = Key { tenant: None, slug };
            let input = "with the slug on standard input";
            assert_eq!(
                reconcile("eu", &key),
                format!("`agent-sync reconcile --database=eu --slugs-from -` {input}")
            );
            assert_eq!(why("eu", &key), "`agent-sync why` with this slug");
            key.tenant = Some("it's".into());
            assert_eq!(
                reconcile("default", &key),
                format!(r"`agent-sync reconcile --tenant='it'\''s' --slugs-from -` {input}")
            );
        }
        let mut key = Key {
            tenant: Some("`id`".into()),
            slug: "a",
        };
        assert_eq!(
            reconcile("default", &key),
            "`agent-sync reconcile --slugs-from -` with tenant/slug on standard input"
        );
        key.slug = "a\nb";
        assert_eq!(reconcile("default", &key), "`agent-sync reconcile --all`");
    }

    #[test]
    fn a_problem_is_told_with_its_number_and_some_names() {
        let some = ["a".to_owned(), "\u{7}".to_owned()];
        assert_eq!(
            sentence("missing_configuration", 1, &some[..1]),
            "1 agent has no configuration: a"
        );
        assert_eq!(
            sentence("rejected", 1_202, &some),
            "1,202 agents are rejected, and nothing is written for them: a, \"\\u0007\" and 1,200 \
            more"
        );
    }
}
