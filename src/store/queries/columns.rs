//! The columns of the two tables as they stand in queries: what is read, what is written, and what
//! of it is noted.

use crate::store::identifier::Quoted;
use crate::store::layout::{Agents, Column, Configurations};

/// The form in which the settings come, which are JSON of any size: as text, or as they are stored,
/// so that they can be weighed before they are fetched and converted. All other columns are text in
/// either form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum As {
    /// As text, where [`heavy`] has found nothing that is too heavy.
    BoundedText,
    /// As stored.
    Stored,
}

/// What is read of an agent, in the order of `batch::Claimed`.
pub(in crate::store) fn agent_columns(agents: &Agents, form: As) -> String {
    let columns = [
        ("name", agents.name.as_ref()),
        ("system_prompt", agents.system_prompt.as_ref()),
        ("agent_image", agents.agent_image.as_ref()),
        ("voice_settings", Some(&agents.voice_settings)),
    ];
    columns
        .map(|(name, column)| read("a", column, name, form))
        .join(", ")
}

/// What is read of a configuration: what can be written, in the same order.
pub(in crate::store) fn configuration_columns(configurations: &Configurations, form: As) -> String {
    written(configurations)
        .map(|(name, column)| read("c", column, name, form))
        .join(", ")
}

/// A column under a fixed name, null where it does not exist.
fn read(alias: &str, column: Option<&Column>, name: &str, form: As) -> String {
    let is_settings = matches!(name, "voice_settings" | "provider_config");
    match column {
        Some(column) if form == As::Stored && is_settings => {
            format!("{alias}.{} AS {}", column.name, Quoted(name))
        }
        Some(column) if form == As::BoundedText && column.is_jsonb() => {
            format!(
                "CASE WHEN heavy.weight IS NULL THEN {alias}.{}::text END AS {}",
                column.name,
                Quoted(name)
            )
        }
        Some(column) => format!("{alias}.{}::text AS {}", column.name, Quoted(name)),
        None => format!("NULL::text AS {}", Quoted(name)),
    }
}

/// The most that an agent and one of its configurations may weigh together, in bytes. What is
/// heavier is rejected and not read.
pub const HEAVIEST: u32 = 16 * 1024 * 1024;

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

/// What these values, which were read [as stored](As::Stored), weigh as text, in bytes.
pub(super) fn settings_weight(values: &[(String, &Column)], weighed: Weighed) -> Vec<String> {
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

/// What the heaviest of the settings of an agent `a` and its configuration `c` weighs at least, if
/// that is more than any agent may; or else null: to be joined as a row `heavy (weight)`.
pub(in crate::store) fn heavy(agents: &Agents, configurations: &Configurations) -> String {
    let settings = [
        ("a", Some(&agents.voice_settings)),
        ("c", Some(&configurations.provider_config)),
        ("c", configurations.voice_settings.as_ref()),
    ];
    let weights = settings.into_iter().filter_map(|(alias, column)| {
        let column = column.filter(|column| column.is_jsonb())?;
        let value = format!("{alias}.{}", column.name);
        Some(format!(
            "CASE WHEN {} THEN NULL WHEN pg_column_size({value}) > {HEAVIEST}
                  THEN pg_column_size({value})
                  ELSE (SELECT {} FROM (SELECT {} AS flat OFFSET 0) AS v) END",
            is_plain(&value),
            too_heavy("v.flat"),
            flat(&value)
        ))
    });
    let weights: Vec<String> = weights.chain(["NULL::float8".to_owned()]).collect();
    format!(
        "(SELECT greatest({}) AS weight OFFSET 0) AS heavy",
        weights.join(", ")
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
/// number, so they come as an array. The limits are no constants of the plan, for whoever logs
/// plans.
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
              WHEN pg_column_size({value}) > {} THEN float8 'infinity'
                ELSE 2 * pg_column_size({}) END",
        LOOKED_AT.0,
        flat(value)
    )
}

/// What the numbers of these values weigh together, where they are looked at: those that are larger
/// do not fit into a batch anyway.
fn estimate_of_numbers(values: &[(String, &Column)]) -> Option<String> {
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
            "CASE WHEN {} THEN CASE WHEN {IN_TIME} THEN {} ELSE float8 'infinity' END ELSE 0 END",
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

/// What a batch can write, in the order of the parameters of [`super::write()`].
pub(super) fn written(configurations: &Configurations) -> [(&'static str, Option<&Column>); 7] {
    [
        ("agent_name", configurations.agent_name.as_ref()),
        ("system_prompt", configurations.system_prompt.as_ref()),
        ("agent_image", configurations.agent_image.as_ref()),
        ("voice_id", configurations.voice_id.as_ref()),
        ("temperature", configurations.temperature.as_ref()),
        ("provider_config", Some(&configurations.provider_config)),
        ("voice_settings", configurations.voice_settings.as_ref()),
    ]
}

/// What a write sets: each column to what `value` gives for its index and name, if that is not
/// null, and the clocks. Every name is qualified (`store::path`).
pub(super) fn assignments(
    configurations: &Configurations,
    value: impl Fn(usize, &str) -> String,
) -> String {
    let columns =
        written(configurations)
            .into_iter()
            .enumerate()
            .filter_map(|(index, (name, column))| {
                let Column {
                    name: own, cast, ..
                } = column?;
                // No coalesce: null may not be a value of the type, as in a domain that is NOT
                // NULL.
                let value = value(index, name);
                Some(format!(
                    "{own} = CASE WHEN {value} IS NULL THEN c.{own} ELSE {value}::{cast} END"
                ))
            });
    let clocks = configurations
        .clocks
        .iter()
        .map(|column| format!("{} = pg_catalog.now()", column.name));
    columns.chain(clocks).collect::<Vec<_>>().join(", ")
}

/// Puts what is [`noted`] of a write into the history.
pub(super) const HISTORY: &str = "INSERT INTO agent_sync.history (slug, configuration, columns, \
    before, after, application_name, role)";

/// What is noted of a write of the configuration called `row`, as it was before: its key, which
/// columns, and the `provider_config` before and after. `value` gives what is written, for the
/// index and name of a column. Every name is qualified (`store::path`).
pub(super) fn noted(
    configurations: &Configurations,
    row: &str,
    value: impl Fn(usize, &str) -> String,
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
    let written = written(configurations);
    let columns = written
        .iter()
        .enumerate()
        .filter(|(_, (_, column))| column.is_some());
    let columns: Vec<_> = columns
        .map(|(index, (name, _))| {
            format!(
                "CASE WHEN {} IS NOT NULL THEN '{name}' END",
                value(index, name)
            )
        })
        .collect();
    let after = written
        .iter()
        .position(|(name, _)| *name == "provider_config")
        .unwrap_or_default();
    let after = value(after, "provider_config");
    format!(
        "{key}, pg_catalog.array_remove(ARRAY[{}], NULL),
         CASE WHEN {after} IS NOT NULL THEN {row}.{}::pg_catalog.text END, {after}",
        columns.join(", "),
        configurations.provider_config.name,
    )
}
