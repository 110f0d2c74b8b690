//! The mapped columns in queries: the columns that are read, those that are written, and those that
//! the history notes.

use crate::columns::{Column, MappedColumn, Per};
use crate::key::Keys;
use crate::store::layout::{Agents, Configurations, SqlColumn};

/// The form in which the settings come, which are JSON of any size: as text, or as they are stored,
/// so that they can be weighed before they are fetched and converted. All other columns are text in
/// either form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum As {
    /// As text, where [`heavy`] or [`heavier`] has found that the row is not too heavy.
    WeighedText,
    /// As stored.
    Stored,
}

/// The number of the first parameter of a write that is the value of a mapped column. The values
/// are the last parameters, in the order of the columns.
const FIRST_VALUE: usize = 7;

/// The parameter with the value of a mapped column.
pub(super) fn parameter(column: Column) -> String {
    format!("${}", FIRST_VALUE + column.index())
}

/// The name of a mapped column in the result of a query, and in its subqueries.
pub(super) fn result_name<C: MappedColumn>(column: C) -> String {
    format!("{}_{}", C::TABLE, column.name())
}

/// Whether this is the [name](result_name) of the column.
pub(in crate::store) fn is_result_name<C: MappedColumn>(name: &str, column: C) -> bool {
    name.strip_prefix(C::TABLE)
        .and_then(|name| name.strip_prefix('_'))
        .is_some_and(|name| name == column.name())
}

/// The mapped columns of the agent `a`.
pub(in crate::store) fn agent_columns(agents: &Agents, form: As) -> String {
    read("a", &agents.columns, form)
}

/// The mapped columns of the configuration `c`.
pub(in crate::store) fn configuration_columns(configurations: &Configurations, form: As) -> String {
    read("c", &configurations.columns, form)
}

/// The mapped columns of a table under their [names](result_name), null where they do not exist.
fn read<C: MappedColumn, const N: usize>(
    alias: &str,
    columns: &Per<C, Option<SqlColumn>, N>,
    form: As,
) -> String {
    let columns = columns.iter().map(|(column, found)| {
        let name = result_name(column);
        match found {
            Some(found) if form == As::Stored && column.is_json() => {
                format!("{alias}.{} AS {name}", found.name)
            }
            Some(found) if form == As::WeighedText => {
                format!(
                    "CASE WHEN heavy.weight IS NULL THEN {alias}.{}::text END AS {name}",
                    found.name
                )
            }
            Some(found) => format!("{alias}.{}::text AS {name}", found.name),
            None => format!("NULL::text AS {name}"),
        }
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// The most that an agent and one of its configurations may weigh together, in bytes. What is
/// heavier is rejected and not read.
pub const HEAVIEST: u32 = 16 * 1024 * 1024;

/// The most configurations of one agent. An agent with more is rejected, and none of them is read.
pub const MOST_CONFIGURATIONS: u32 = 10_000;

/// What a row weighs by itself, whatever it holds, in bytes: about what the client needs for it.
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

/// The text of a value that was read [as stored](As::Stored).
pub(super) fn settings_text(value: &str) -> String {
    format!("{value}::text")
}

/// The weight of these values, which were read [as stored](As::Stored), as text, in bytes.
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

/// What a value of `jsonb` weighs as text. The text of a number such as 1e131071 is 10,000 times as
/// long as what is stored of it, so no text is made of what is too heavy by its size or by the
/// digits of its numbers: that is its weight then.
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

/// The columns of JSON that exist.
pub(super) fn settings<C: MappedColumn, const N: usize>(
    columns: &Per<C, Option<SqlColumn>, N>,
) -> impl Iterator<Item = (C, &SqlColumn)> {
    columns.present().filter(|(column, _)| column.is_json())
}

/// What the heaviest column of an agent `a` and its configuration `c` weighs at least, if that is more
/// than any agent may; or else null: to be joined as a row `heavy (weight)`. The length of a text is
/// in its header, and the text is not read for it.
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

/// What all columns of an agent `a` and its configuration `c` weigh together, if that is more than
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
/// What `jsonb_path_query` gives row by row takes a time that grows with the square of their
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

/// What the text of a value of `jsonb` weighs, but for its numbers: rarely more than twice what is
/// stored.
fn estimate(value: &str) -> String {
    format!(
        "CASE WHEN pg_column_compression({value}) IS NULL THEN 2 * pg_column_size({value})
              WHEN pg_column_size({value}) > {} THEN {NEVER_FITS}
                ELSE 2 * pg_column_size({}) END",
        LOOKED_AT.0,
        flat(value)
    )
}

/// What the numbers of these values weigh together, where they are looked at: those that are larger
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

/// The assignments of a write: each column to its `value`, if that is not null, and the clocks to
/// the time of the transaction. Every name is qualified (`store::path`).
pub(super) fn assignments(
    configurations: &Configurations,
    value: impl Fn(Column) -> String,
) -> String {
    let columns = configurations.columns.present().map(|(column, found)| {
        let (name, cast, value) = (&found.name, &found.cast, value(column));
        // No coalesce: null may not be a value of the type, as in a domain that is NOT NULL.
        format!("{name} = CASE WHEN {value} IS NULL THEN c.{name} ELSE {value}::{cast} END")
    });
    let clocks = configurations
        .clocks
        .iter()
        .map(|column| format!("{} = pg_catalog.now()", column.name));
    columns.chain(clocks).collect::<Vec<_>>().join(", ")
}

/// Puts what is [`noted`] of a write into the history, behind the parts of the key.
pub(super) fn into_history(keys: Keys) -> String {
    format!(
        "INSERT INTO agent_sync.history ({}, configuration, columns, before, after, \
        application_name, role)",
        keys.names()
    )
}

/// The history of a write of the configuration called `row`, as it was before: its key, the written
/// columns, and `provider_config` before and after. `value` gives the text that is written to a
/// column. Every name is qualified (`store::path`).
pub(super) fn noted(
    configurations: &Configurations,
    row: &str,
    value: impl Fn(Column) -> String,
) -> String {
    let key: Vec<_> = configurations
        .key
        .iter()
        .map(|column| format!("{row}.{column}::pg_catalog.text"))
        .collect();
    let key = match key.as_slice() {
        [] => "NULL".to_owned(),
        [one] => one.clone(),
        several => format!("pg_catalog.concat_ws(',', {})", several.join(", ")),
    };
    let columns = configurations.columns.present().map(|(column, _)| {
        let (value, name) = (value(column), column.name());
        format!("CASE WHEN {value} IS NOT NULL THEN '{name}' END")
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let after = value(Column::ProviderConfig);
    let before = configurations.columns[Column::ProviderConfig]
        .as_ref()
        .map_or_else(
            || "NULL".to_owned(),
            |column| format!("{row}.{}::pg_catalog.text", column.name),
        );
    format!(
        "{key}, pg_catalog.array_remove(ARRAY[{columns}], NULL),
         CASE WHEN {after} IS NOT NULL THEN {before} END, {after}"
    )
}
