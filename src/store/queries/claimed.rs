//! What a claim returns: the columns that `batch::Claimed` reads, of rows that were joined already.

use std::fmt::Display;

use super::columns::{result_name, settings, settings_text};
use super::hidden::rows_may_be_hidden;
use super::sent::sent;
use super::weight::{ROW, Weighed, in_time, settings_weight};
use crate::columns::{AgentColumn, Column, MappedColumn as _};
use crate::key::Keys;
use crate::store::layout::{Layout, SqlColumn};

/// The most bytes of a slug. What is longer is set aside, and never sent.
pub const LONGEST_SLUG: usize = 8192;

/// The most bytes of the slugs of the rows of a batch. An answer with them, the largest number of
/// rows and their contents is within the limit of an answer (`session::limits`).
const SLUGS: u32 = 2 * 1024 * 1024;

/// Why an agent is rejected whose slug is not the same after the way to UTF-8 and back.
pub const LOST_ON_THE_WAY: &str =
    "slug: expected characters that stay the same on the way to UTF-8 and back, found another";

/// The most bytes of a value of `jsonb`, as it is stored, that a claim compares with another.
const COMPARED: u32 = 2 * 1024;

/// Why an agent is rejected whose slug has this number of bytes, more than [`LONGEST_SLUG`].
pub fn too_long(bytes: impl Display) -> String {
    format!("slug: expected at most {LONGEST_SLUG} bytes, found {bytes}")
}

/// The SQLSTATE of the problem that is noted for the slug: empty if it has none, and null if there
/// is no problem.
pub(super) fn problem(keys: Keys) -> String {
    let is = keys.is("p", "changed.slug");
    format!("(SELECT coalesce(p.sqlstate, '') FROM agent_sync.problem p WHERE {is} LIMIT 1)")
}

/// The oldest transaction that had not ended when the snapshot of the statement was taken. A row
/// that an older one has written is visible to the statement, also if a subtransaction wrote it.
const OLDEST_RUNNING: &str = "(SELECT pg_snapshot_xmin(pg_current_snapshot())::xid)";

/// The query of a claim: of `from`, in which `changed`, `agent` and `configuration` are joined,
/// with the number of `targets` that the slug has, and the contents while they weigh no more than
/// `budget` bytes in all.
///
/// The values of the slug as a whole are in its first row, and so is the slug: it may have
/// [`LONGEST_SLUG`] bytes, and thousands of configurations. No other row has `places`.
///
/// The query has three levels, so that every value is computed once: the innermost joins and
/// compares, the next one weighs what is stored (a large value is not fetched for that), and the
/// outermost turns into text what is sent, in a subquery of its own, so that the length of the text
/// can be looked at before.
///
/// An estimated weight is a limit: a row whose text is longer than its estimate comes without
/// contents and does not fit, so its slug is claimed alone and weighed exactly.
///
/// A claim by estimate bounds the number of the rows as well. The total of a row is its weight and
/// that of all rows before it:
///
/// | row | returned |
/// |---|---|
/// | the total is within the budget | yes, with its contents |
/// | the first row with a total beyond the budget | yes, without contents |
/// | the first row of a slug, behind that row | yes, without contents |
/// | any other row behind it | no |
/// | the first row with more than [`SLUGS`] bytes of slugs up to it | yes, no contents, `cut` |
/// | any row behind that | no |
///
/// Contents are also left out once the time for them is over (`in_time`). Every other claim returns
/// all rows.
///
/// The value of `found` is null where no agent is found, and false where the index leads to one
/// with another key.
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
    // A slug that is too long for anything else is not sent either (G12): null is for what is no
    // slug, and is set aside.
    let slug = format!(
        "CASE WHEN NOT w.goes_on AND octet_length(w.slug) <= {LONGEST_SLUG} THEN {} END",
        sent("w.slug")
    );
    let contents = Contents::of(layout);
    let (weight, own, weigh) = contents.weight(weighed);
    let (lengths, as_text) = (contents.lengths(), contents.as_text());
    let problem = problem(layout.keys());
    let (slugs, fitting, cut, bounded) = slugs(weighed);
    format!(
        "SELECT {slug} AS slug, w.targets, w.problem,
                CASE WHEN NOT w.goes_on THEN w.places END AS places,
                CASE WHEN NOT w.goes_on THEN w.versions END AS versions,
                w.age, {OLDEST_RUNNING} AS oldest_running, {cut} AS cut, t.fits, w.weight,
                w.found, w.hidden, w.place, w.relation, w.version, {}{own}
         FROM (
             SELECT i.*, sum(i.weight + {ROW}) OVER so_far <= {budget}{}{fitting} AS fits,
                    sum(i.weight + {ROW}) OVER so_far - (i.weight + {ROW}) <= {budget} AS begins,
                    lag(i.slug) OVER so_far IS NOT DISTINCT FROM i.slug AS goes_on{slugs}
             FROM (
                 SELECT j.*, {weight} AS weight
                 FROM (
                     SELECT changed.slug, {targets} AS targets,
                            {problem} AS problem,
                            changed.places, changed.versions,
                            extract(epoch FROM clock_timestamp() - changed.at)::float8 AS age,
                            agent.found, {} AS hidden,
                            configuration.place, configuration.relation, configuration.version,
                            {}
                     FROM {from}
                     OFFSET 0
                 ) AS j{weigh} OFFSET 0
             ) AS i
             WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)
         ) AS w CROSS JOIN LATERAL (
             SELECT x.*, w.fits AND {lengths} <= w.weight AS fits
             FROM (SELECT {as_text} OFFSET 0) AS x OFFSET 0
         ) AS t{bounded}",
        contents.sent(),
        in_time(weighed),
        hidden(layout),
        as_they_are(layout).join(", "),
    )
}

/// The bound on the slugs of a claim that weighs by estimate: their bytes so far as a value of a
/// row `w`, the condition under which its contents fit, whether the claim is cut at this row, and
/// the condition under which it is returned. A claim of one slug has none.
fn slugs(weighed: Weighed) -> (String, String, String, String) {
    if weighed != Weighed::ByEstimate {
        let none = String::new;
        return (none(), none(), "false".to_owned(), none());
    }
    let own = |row: &str| {
        format!(
            "CASE WHEN octet_length({row}.slug) <= {LONGEST_SLUG} THEN octet_length({row}.slug) \
            ELSE 0 END"
        )
    };
    let sum = format!("sum({}) OVER so_far", own("i"));
    (
        format!(",\n                    {sum} AS slugs"),
        format!(" AND {sum} <= {SLUGS}"),
        format!("w.slugs > {SLUGS}"),
        format!(
            " WHERE (w.begins OR NOT w.goes_on OR w.slugs > {SLUGS}) AND w.slugs - {} <= {SLUGS}",
            own("w")
        ),
    )
}

/// Whether row-level security may hide the row that is not found.
fn hidden(layout: &Layout) -> String {
    format!(
        "CASE WHEN agent.found IS NULL THEN {} WHEN configuration.place IS NULL THEN {} END",
        rows_may_be_hidden(&layout.agents.table),
        rows_may_be_hidden(&layout.configurations.table),
    )
}

/// The values whose contents are sent only within the budget, by their names.
struct Contents<'a> {
    texts: Vec<String>,
    of_agent: Vec<(String, &'a SqlColumn)>,
    of_configuration: Vec<(String, &'a SqlColumn)>,
}

impl<'a> Contents<'a> {
    fn of(layout: &'a Layout) -> Self {
        // With the numbers: the text of 1e131071 is 10,000 times as long as what is stored.
        let texts = Column::compared_by_mapping().filter(|column| !column.is_json());
        let of_agent = settings(&layout.agents.columns);
        let of_configuration = settings(&layout.configurations.columns);
        Self {
            texts: copied()
                .map(|(name, _)| name)
                .chain(texts.map(result_name))
                .collect(),
            of_agent: of_agent
                .map(|(column, found)| (result_name(column), found))
                .collect(),
            of_configuration: of_configuration
                .map(|(column, found)| (result_name(column), found))
                .collect(),
        }
    }

    /// The columns of settings.
    fn settings(&self) -> impl Iterator<Item = &(String, &'a SqlColumn)> {
        self.of_agent.iter().chain(&self.of_configuration)
    }

    /// The settings of a row `w` that fits, as text.
    fn as_text(&self) -> String {
        let texts = self.settings().map(|(name, _)| {
            let text = settings_text(&format!("w.{name}"));
            format!("CASE WHEN w.fits THEN {text} END AS {name}")
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    /// The length of these texts `x` together.
    fn lengths(&self) -> String {
        let lengths = self.settings();
        let lengths = lengths.map(|(name, _)| format!("coalesce(octet_length(x.{name}), 0)"));
        lengths.collect::<Vec<_>>().join(" + ")
    }

    /// The weight of a row `j`; the columns that are sent with it; and the source of its parts.
    fn weight(&self, weighed: Weighed) -> (String, &'static str, String) {
        let slug = ["slug".to_owned()];
        match weighed {
            Weighed::Before => ("float8 'infinity'".to_owned(), "", String::new()),
            Weighed::ByEstimate => {
                let texts = [&slug[..], &self.texts].concat();
                let settings = [&self.of_agent[..], &self.of_configuration].concat();
                (weight(&texts, &settings, weighed), "", String::new())
            }
            // By itself, an agent weighs what its slug and its settings do: its other columns count
            // only where they differ.
            Weighed::Exactly => {
                let own = weight(&slug, &self.of_agent, weighed);
                let rest = weight(&self.texts, &self.of_configuration, weighed);
                (
                    format!("own.weight AS own, own.weight + {rest}"),
                    ", w.own",
                    format!(" CROSS JOIN LATERAL (SELECT {own} AS weight OFFSET 0) AS own"),
                )
            }
        }
    }

    /// The mapped columns of the result: the contents of a row that fits.
    fn sent(&self) -> String {
        let texts = self
            .texts
            .iter()
            .map(|name| format!("CASE WHEN t.fits THEN w.{name} END AS {name}"));
        let settings = self
            .settings()
            .map(|(name, _)| format!("CASE WHEN t.fits THEN t.{name} END AS {name}"));
        let columns: Vec<String> = texts.chain(settings).collect();
        columns.join(", ")
    }
}

/// The values of the mapped columns in the innermost query, of the rows `agent` and
/// `configuration`.
fn as_they_are(layout: &Layout) -> Vec<String> {
    let mut values: Vec<String> = copied()
        .map(|(name, value)| format!("{value} AS {name}"))
        .collect();
    let agent_settings = AgentColumn::ALL
        .into_iter()
        .filter(|column| column.is_json());
    values.extend(agent_settings.map(|column| format!("agent.{}", result_name(column))));
    let compared = Column::compared_by_mapping();
    values.extend(compared.map(|column| {
        let (value, name) = (unlike_copy(layout, column), result_name(column));
        format!("{value} AS {name}")
    }));
    values
}

/// The texts that are copied as they are, under the name of the agent's column, each only where it
/// differs: a prompt is larger than all the rest, and mostly the same on both sides. To the
/// mapping, a column that is the same and one that is not set are both nothing to write (M1).
pub(super) fn copied() -> impl Iterator<Item = (String, String)> {
    Column::copied_texts().map(|(column, source)| {
        let (from, to) = (result_name(source), result_name(column));
        let value = format!(
            "CASE WHEN agent.{from} COLLATE \"C\" IS DISTINCT FROM configuration.{to} THEN \
            agent.{from} END"
        );
        (from, value)
    })
}

/// The value of a column of the row `configuration` that the mapping compares. A copy of the
/// agent's `jsonb` is left out where it says something else and both are small objects: whatever it
/// says, it is replaced (M1). Text of it would be made, sent and parsed in vain.
///
/// An equal value comes, and so does a string, in which there may be an equal object (T4).
pub(super) fn unlike_copy(layout: &Layout, column: Column) -> String {
    let value = format!("configuration.{}", result_name(column));
    let is_jsonb = |column: Option<&SqlColumn>| column.is_some_and(SqlColumn::is_jsonb);
    let source = column.source().filter(|source| {
        is_jsonb(layout.agents.columns[*source].as_ref())
            && is_jsonb(layout.configurations.columns[column].as_ref())
    });
    let Some(source) = source else {
        return value;
    };
    let source = format!("agent.{}", result_name(source));
    let is_object = |value: &str| {
        format!("pg_column_size({value}) <= {COMPARED} AND jsonb_typeof({value}) = 'object'")
    };
    format!(
        "CASE WHEN ({} AND {} AND {value} <> {source}) IS NOT TRUE THEN {value} END",
        is_object(&value),
        is_object(&source),
    )
}

/// The weight of these columns of text and of settings of the row `j`, in bytes.
fn weight(texts: &[String], settings: &[(String, &SqlColumn)], weighed: Weighed) -> String {
    let texts = texts
        .iter()
        .map(|name| format!("coalesce(octet_length(j.{name}), 0)"));
    let settings: Vec<(String, &SqlColumn)> = settings
        .iter()
        .map(|(name, column)| (format!("j.{name}"), *column))
        .collect();
    let settings = settings_weight(&settings, weighed);
    format!(
        "({})::float8",
        texts.chain(settings).collect::<Vec<_>>().join(" + ")
    )
}
