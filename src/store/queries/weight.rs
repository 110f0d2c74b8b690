//! The weight of rows in queries (G12): the bytes that the values of an agent and its
//! configurations have as text, before they are sent. A few bytes of `jsonb` can have much text, so
//! no text is made of a value that is too heavy.

use crate::store::layout::{Agents, Configurations, SqlColumn};

/// The most that an agent and one of its configurations may weigh together, in bytes. What is
/// heavier is rejected and not read.
pub const HEAVIEST: u32 = 16 * 1024 * 1024;

/// The weight of any row by itself, in bytes: about the memory that the client needs for it.
pub(super) const ROW: u32 = 256;

/// The most bytes of uncompressed `jsonb` whose text is made without a look at its numbers: those
/// of 1 KiB have 10 MB of text at most.
const PLAIN: u32 = 1024;

/// The same in a batch, where a look at the numbers costs more than the text. What is larger than a
/// few KiB is rare there, and mostly compressed; of smaller values 20 MB of text are made in vain
/// at most, and of many of them no more than there is [time](IN_TIME) for.
const PLAIN_IN_BATCH: u32 = 2 * 1024;

/// The most bytes of `jsonb`, compressed and not, whose numbers are looked at in a batch. What is
/// larger is read alone.
const LOOKED_AT: (u32, u32) = (128 * 1024, 4 * 1024 * 1024);

/// How long a batch may take to weigh and to make text.
const IN_TIME: &str =
    "clock_timestamp() <= (SELECT clock_timestamp() + interval '500 milliseconds')";

/// An estimated weight above every budget. It is finite: the sum of the weights before a row is the
/// sum with that row less its own weight.
const NEVER_FITS: &str = "float8 '1e12'";

/// How values are weighed before they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weighed {
    /// As they are as text, which has each converted for that, unless its numbers say that it is
    /// too heavy.
    Exactly,
    /// As what is stored says, and the numbers.
    ByEstimate,
    /// Not at all: they were weighed before.
    Before,
}

/// The weight of these values, which were read [as stored](super::As::Stored), as text, in bytes.
pub(super) fn settings_weight(values: &[(String, &SqlColumn)], weighed: Weighed) -> Vec<String> {
    let each = values.iter().map(|(value, column)| match weighed {
        _ if matches!(column.sql_type.as_str(), "text" | "character varying") => {
            format!("coalesce(octet_length({value}), 0)")
        }
        Weighed::Exactly if column.is_jsonb() => format!("coalesce({}, 0)", bounded(value)),
        Weighed::Exactly => format!("coalesce(octet_length({value}::text), 0)"),
        Weighed::ByEstimate if column.is_jsonb() => format!("coalesce({}, 0)", estimate(value)),
        Weighed::ByEstimate => format!(
            "coalesce(CASE WHEN pg_column_compression({value}) IS NULL THEN 2 * \
            pg_column_size({value}) ELSE octet_length({value}::text) END, 0)"
        ),
        Weighed::Before => 0.to_string(),
    });
    let mut each: Vec<String> = each.collect();
    if weighed == Weighed::ByEstimate {
        each.extend(estimate_of_numbers(values));
    }
    each
}

/// The weight of a value of `jsonb` as text. The text of a number such as 1e131071 is 10,000 times
/// as long as the stored number. So no text is made of a value that is too heavy by its size or by
/// the digits of its numbers: that is its weight then.
pub(super) fn bounded(value: &str) -> String {
    let lower = too_heavy("v.flat");
    format!(
        "CASE WHEN {} THEN octet_length({value}::text)
              WHEN pg_column_size({value}) > {HEAVIEST} THEN pg_column_size({value})
              ELSE (SELECT coalesce(l.least, octet_length(l.flat::text)) FROM (
                        SELECT v.flat, {lower} AS least
                          FROM (SELECT {} AS flat OFFSET 0) AS v OFFSET 0
                    ) AS l) END",
        is_plain(value),
        flat(value)
    )
}

/// The least that this value of `jsonb`, which is not compressed, weighs, if that is more than any
/// agent may; or else null.
fn too_heavy(value: &str) -> String {
    format!(
        "CASE WHEN pg_column_size({value}) > {HEAVIEST} THEN pg_column_size({value})::float8
              ELSE (SELECT d.digits FROM (SELECT {} AS digits OFFSET 0) AS d
                WHERE d.digits > {HEAVIEST}) END",
        digits(&numbers(value))
    )
}

/// The least weight of the heaviest column of an agent `a` and its configuration `c`, if that is
/// more than any agent may; or else null: to be joined as a row `heavy (weight)`. The length of a
/// text is in its header, and the text is not read for it.
pub(in crate::store) fn heavy(agents: &Agents, configurations: &Configurations) -> String {
    let of_agent = agents.columns.present().map(|(_, column)| ("a", column));
    let of_configuration = configurations.columns.present();
    let of_configuration = of_configuration.map(|(_, column)| ("c", column));
    let weights = of_agent
        .chain(of_configuration)
        .filter_map(|(alias, column)| {
            let value = format!("{alias}.{}", column.name);
            match column.sql_type.as_str() {
                _ if column.is_jsonb() => Some(format!(
                    "CASE WHEN {} THEN NULL WHEN pg_column_size({value}) > {HEAVIEST}
                      THEN pg_column_size({value})
                      ELSE (SELECT {} FROM (SELECT {} AS flat OFFSET 0) AS v) END",
                    is_plain(&value),
                    too_heavy("v.flat"),
                    flat(&value)
                )),
                "text" | "character varying" | "json" => Some(format!(
                    "CASE WHEN octet_length({value}::text) > {HEAVIEST}
                      THEN octet_length({value}::text)::float8 END"
                )),
                _ => None,
            }
        });
    let weights: Vec<String> = weights.chain(["NULL::float8".to_owned()]).collect();
    format!(
        "(SELECT greatest({}) AS weight OFFSET 0) AS heavy",
        weights.join(", ")
    )
}

/// The weight of all columns of an agent `a` and its configuration `c`, if that is more than
/// `most`; or else null: to be joined as a row `heavy (weight)`.
pub(in crate::store) fn heavier(
    agents: &Agents,
    configurations: &Configurations,
    most: u32,
) -> String {
    let of_agent = agents.columns.present();
    let of_agent = of_agent.map(|(_, column)| (format!("a.{}", column.name), column));
    let of_configuration = configurations.columns.present();
    let of_configuration =
        of_configuration.map(|(_, column)| (format!("c.{}", column.name), column));
    let columns: Vec<_> = of_agent.chain(of_configuration).collect();
    let weights = settings_weight(&columns, Weighed::Exactly);
    format!(
        "(SELECT CASE WHEN s.sum > {most} THEN s.sum END AS weight
          FROM (SELECT (0 + {})::float8 AS sum OFFSET 0) AS s OFFSET 0) AS heavy",
        weights.join(" + ")
    )
}

/// Whether a value of `jsonb` is null, or so small that its text may be made whatever it holds.
pub(super) fn is_plain(value: &str) -> String {
    format!(
        "({value} IS NULL OR pg_column_compression({value}) IS NULL AND pg_column_size({value}) <= \
        {PLAIN})"
    )
}

/// The numbers in a value of `jsonb`, as an array of `jsonb`.
pub(super) fn numbers(value: &str) -> String {
    format!("jsonb_path_query_array({value}, 'strict $.** ? (@.type() == \"number\")')")
}

/// The value of `jsonb` as it is when it is not compressed.
fn flat(value: &str) -> String {
    format!("({value} #> '{{}}')")
}

/// How many digits the text of these numbers has at least, which is more than half of what it has.
/// The rows of `jsonb_path_query` would take a time that grows with the square of their
/// number, so they come as an array. The limits are no constants of the plan, because the
/// server may log plans.
fn digits(numbers: &str) -> String {
    const LIMITS: &str =
        "'{1e16,1e32,1e64,1e128,1e256,1e512,1e1024,1e2048,1e4096,1e8192,1e16384,1e32768,1e65536}'";
    format!(
        "(SELECT coalesce(sum(scale(n.number) + CASE WHEN abs(n.number) < 1e16 THEN 1
                              ELSE 8 * 2::float8 ^ width_bucket(abs(n.number),
                                                                (SELECT
                                                                  {LIMITS}::text::numeric[]))
                                                                  END), 0)
          FROM (SELECT e.value::numeric AS number
            FROM jsonb_array_elements({numbers}) e OFFSET 0) AS n)"
    )
}

/// The weight of the text of a value of `jsonb`, but for its numbers: rarely more than twice the
/// stored size.
fn estimate(value: &str) -> String {
    format!(
        "CASE WHEN pg_column_compression({value}) IS NULL THEN 2 * pg_column_size({value})
              WHEN pg_column_size({value}) > {} THEN {NEVER_FITS}
                ELSE 2 * pg_column_size({}) END",
        LOOKED_AT.0,
        flat(value)
    )
}

/// The weight of the numbers of these values, where they are looked at: those that are larger
/// do not fit into a batch anyway.
fn estimate_of_numbers(values: &[(String, &SqlColumn)]) -> Option<String> {
    let values: Vec<&String> = values
        .iter()
        .filter(|(_, column)| column.is_jsonb())
        .map(|(value, _)| value)
        .collect();
    let is_looked_at = |value: &str| {
        format!(
            "CASE WHEN pg_column_compression({value}) IS NULL THEN pg_column_size({value}) BETWEEN \
            {} AND {} ELSE pg_column_size({value}) <= {} END",
            PLAIN_IN_BATCH + 1,
            LOOKED_AT.1,
            LOOKED_AT.0
        )
    };
    let any: Vec<String> = values.iter().map(|value| is_looked_at(value)).collect();
    let all: Vec<String> = values
        .iter()
        .map(|value| {
            format!(
                "CASE WHEN {} THEN CASE WHEN pg_column_size({}) <= {} THEN {} ELSE '[]' END ELSE \
                '[]' END",
                is_looked_at(value),
                flat(value),
                LOOKED_AT.1,
                numbers(value)
            )
        })
        .collect();
    (!values.is_empty()).then(|| {
        format!(
            "CASE WHEN {} THEN CASE WHEN {IN_TIME} THEN {} ELSE {NEVER_FITS} END ELSE 0 END",
            any.join(" OR "),
            digits(&all.join(" || "))
        )
    })
}

/// The condition under which a row comes with its contents, beside its weight. Where text takes
/// much longer to make than it should, the rest of the batch is left for the next one (G5). The
/// first row is always in time.
pub(super) fn in_time(weighed: Weighed) -> String {
    if weighed == Weighed::ByEstimate {
        format!(" AND {IN_TIME}")
    } else {
        String::new()
    }
}
