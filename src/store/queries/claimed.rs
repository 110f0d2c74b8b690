//! What a claim returns: the columns that `batch::Claimed` reads, of rows that were joined already.

use super::columns::{Weighed, in_time, settings_text, settings_weight};
use super::hidden::rows_may_be_hidden;
use crate::store::layout::{Column, Layout};

/// The most bytes of a slug. What is longer is set aside, and never sent.
pub const LONGEST_SLUG: usize = 8192;

/// The SQLSTATE of the problem that is noted for the slug: empty if it has none, and null if there
/// is no problem.
pub(super) const PROBLEM: &str = "(SELECT coalesce(p.sqlstate, '') FROM agent_sync.problem p WHERE \
    p.slug = changed.slug LIMIT 1)";

/// The query of a claim: of `from`, in which `changed`, `agent` and `configuration` are joined,
/// with the number of `targets` that the slug has, and the contents while they weigh no more than
/// `budget` bytes in all.
///
/// What belongs to the slug as a whole comes with its first row.
///
/// The query has three levels, so that every value is computed once: the innermost joins and
/// compares, the next one weighs what is stored (a large value is not fetched for that), and the
/// outermost turns into text what is sent, in a subquery of its own, so that the length of the text
/// can be looked at before.
///
/// What was weighed by estimate is held to it: a row whose text is longer than it weighed has no
/// contents either, and does not fit, so that it is claimed alone and weighed exactly.
///
/// "Not found" is no proof of "not there" (G14): a policy may hide the row. So a row with something
/// not found says whether row-level security may hide rows of that table from this role; the
/// catalog is asked only then.
pub(super) fn claimed(
    layout: &Layout,
    targets: &str,
    budget: &str,
    weighed: Weighed,
    from: &str,
) -> String {
    let Layout {
        agents,
        configurations,
        ..
    } = layout;
    let hidden = format!(
        "CASE WHEN agent.found IS NULL THEN {} WHEN configuration.place IS NULL THEN {} END",
        rows_may_be_hidden(&agents.table),
        rows_may_be_hidden(&configurations.table),
    );
    let copied = copied();
    // A slug that is too long for anything else is not sent either (G12): null is for what is no
    // slug, and is set aside.
    let slug = format!("CASE WHEN octet_length(w.slug) <= {LONGEST_SLUG} THEN w.slug END");
    let sent = |value: String| format!("CASE WHEN t.fits THEN {value} END");
    let [name, system_prompt, agent_image, voice_id] =
        ["name", "system_prompt", "agent_image", "voice_id"].map(|name| sent(format!("w.{name}")));
    let settings = [
        ("agent_settings", Some(&agents.voice_settings)),
        ("provider_config", Some(&configurations.provider_config)),
        ("voice_settings", configurations.voice_settings.as_ref()),
    ];
    let texts = settings.map(|(name, _)| {
        format!(
            "CASE WHEN w.fits THEN {} END AS {name}",
            settings_text(&format!("w.{name}"))
        )
    });
    let length: Vec<String> = settings
        .iter()
        .map(|(name, _)| format!("coalesce(octet_length(x.{name}), 0)"))
        .collect();
    let [agent_settings, provider_config, voice_settings] =
        settings.map(|(name, _)| sent(format!("t.{name}")));
    let (weight, own, weigh) = match weighed {
        Weighed::Before => ("float8 'infinity'".to_owned(), "", String::new()),
        Weighed::ByEstimate => (
            weight(&[&["slug"], &OTHERS[..]].concat(), &settings, weighed),
            "",
            String::new(),
        ),
        // By itself, an agent weighs what its slug and its settings do: its other columns count
        // only where they differ.
        Weighed::Exactly => {
            let (agent, configuration) = settings.split_at(1);
            let own = weight(&["slug"], agent, weighed);
            (
                format!(
                    "own.weight AS own, own.weight + {}",
                    weight(&OTHERS, configuration, weighed)
                ),
                ", w.own",
                format!(" CROSS JOIN LATERAL (SELECT {own} AS weight OFFSET 0) AS own"),
            )
        }
    };
    format!(
        "SELECT {slug}, w.targets, w.problem,
                CASE WHEN NOT w.goes_on THEN w.places END, CASE WHEN NOT w.goes_on
                  THEN w.versions END, w.age, w.age_of_latest, t.fits, w.weight,
                w.found, {name}, {system_prompt}, {agent_image}, {agent_settings}, w.hidden,
                w.place, w.relation, NULL::text, NULL::text, NULL::text,
                {voice_id}, w.temperature, {provider_config}, {voice_settings}, w.version{own}
         FROM (
             SELECT i.*, sum(i.weight) OVER so_far <= {budget}{} AS fits,
                    lag(i.slug) OVER so_far IS NOT DISTINCT FROM i.slug AS goes_on
             FROM (
                 SELECT j.*, {} AS weight
                 FROM (
                     SELECT changed.slug, {targets} AS targets,
                            {PROBLEM} AS problem,
                            changed.places, changed.versions,
                            extract(epoch FROM clock_timestamp() - changed.at)::float8 AS age,
                            extract(epoch FROM clock_timestamp() - changed.latest)::float8 AS
                              age_of_latest,
                            agent.found IS NOT NULL AS found, {} AS name, {} AS system_prompt, {}
                              AS agent_image,
                            agent.voice_settings AS agent_settings, {hidden} AS hidden,
                            configuration.place, configuration.relation, configuration.version,
                              configuration.voice_id,
                            configuration.temperature, configuration.provider_config,
                              configuration.voice_settings
                     FROM {from}
                     OFFSET 0
                 ) AS j{weigh} OFFSET 0
             ) AS i
             WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)
         ) AS w CROSS JOIN LATERAL (
             SELECT x.*, w.fits AND {} <= w.weight AS fits FROM (SELECT {} OFFSET 0) AS x OFFSET 0
         ) AS t",
        in_time(weighed),
        weight,
        copied[0],
        copied[1],
        copied[2],
        length.join(" + "),
        texts.join(", "),
    )
}

/// The columns that are copied as they are, each only where it differs: a prompt is larger than all
/// the rest, and mostly the same on both sides. To the mapping a column that is the same and one
/// that is not set are one thing: nothing to write (M1).
pub(super) fn copied() -> [String; 3] {
    [
        ("name", "agent_name"),
        ("system_prompt", "system_prompt"),
        ("agent_image", "agent_image"),
    ]
    .map(|(from, to)| {
        format!(
            "CASE WHEN agent.{from} COLLATE \"C\" IS DISTINCT FROM configuration.{to} THEN \
            agent.{from} END"
        )
    })
}

/// The columns of text, beside the slug, whose contents come.
const OTHERS: [&str; 4] = ["name", "system_prompt", "agent_image", "voice_id"];

/// What these columns of text and of settings of the row `j` weigh, in bytes.
fn weight(texts: &[&str], settings: &[(&str, Option<&Column>)], weighed: Weighed) -> String {
    let texts = texts
        .iter()
        .map(|name| format!("coalesce(octet_length(j.{name}), 0)"));
    let settings: Vec<(String, &Column)> = settings
        .iter()
        .filter_map(|(name, column)| Some((format!("j.{name}"), (*column)?)))
        .collect();
    let settings = settings_weight(&settings, weighed);
    format!(
        "({})::float8",
        texts.chain(settings).collect::<Vec<_>>().join(" + ")
    )
}
