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
            "{START}, or run `agent-sync reconcile {}`.",
            arguments(&database.name, key)
        )),
        Verdict::Drifted => Some(format!(
            "Run `agent-sync reconcile {}`.",
            arguments(&database.name, key)
        )),
        Verdict::Missing | Verdict::Rejected | Verdict::Ambiguous => Some(remedy(
            database,
            (verdict.problem().unwrap_or_default(), noted),
            None,
            key,
        )),
    }
}

/// The arguments that name an agent of this database to a command, quoted for a shell.
///
/// The name of the database is left out where a connection string alone has made it, because there
/// is no other one then.
pub fn arguments(database: &str, key: &Key<'_>) -> String {
    let database = scope(database);
    let dashes = if key.slug.starts_with('-') { "-- " } else { "" };
    let slug = format!("{dashes}{}", quoted_for_shell(key.slug));
    match &key.tenant {
        Some(tenant) => format!("{database}--tenant={} {slug}", quoted_for_shell(tenant)),
        None => format!("{database}{slug}"),
    }
}

/// The option that names the database to a command, with a blank behind it.
pub fn scope(database: &str) -> String {
    if database == UNNAMED {
        String::new()
    } else {
        format!("--database={} ", quoted_for_shell(database))
    }
}

fn quoted_for_shell(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._/:@%+-".contains(c);
    let escaped = crate::mapping::quoted(text);
    let inner = escaped.get(1..escaped.len() - 1).unwrap_or_default();
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else if text.contains(crate::mapping::disturbs_message) {
        format!("$'{}'", inner.replace('\'', r"\'"))
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
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
            ("\u{1b}'", r"$'\u001b\''"),
            ("a\u{200e}", r"$'a\u200e'"),
            ("a`curl x | sh`b", r"$'a\u0060curl x | sh\u0060b'"),
        ] {
            let mut key = Key { tenant: None, slug };
            assert_eq!(arguments("default", &key), shell);
            assert_eq!(arguments("eu", &key), format!("--database=eu {shell}"));
            key.tenant = Some("it's".into());
            let tenant = r"--tenant='it'\''s'";
            assert_eq!(arguments("default", &key), format!("{tenant} {shell}"));
            assert_eq!(
                arguments("eu", &key),
                format!("--database=eu {tenant} {shell}")
            );
        }
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
