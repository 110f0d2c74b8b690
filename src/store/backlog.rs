//! What is waiting and what is not in sync, counted and listed at a bounded cost: at most
//! [`COUNTED`] rows of the outbox and of the problems are looked at, and the latest problems of
//! each kind are fetched, cut short.

use std::time::{Instant, SystemTime};

use postgres_types::Type;
use tokio_postgres::Row;

use super::batch::{Lossy, lossy};
use super::queries::shown;
use super::{ProblemKind, Remedies, Store, report};
use crate::key::{Key, Keys};
use crate::observe::state::{DaemonSession, LISTED, PROBLEMS, STANDBYS, Sessions};
use crate::observe::{Backlog, Kinds, Problem};
use crate::pg::{Parameter, QueryError, Seconds, told};

/// How many rows are counted; the numbers are no larger, and say so.
pub const COUNTED: i64 = 100_000;

/// How many characters of a slug and of a reason are fetched; a remedy wants the whole slug.
const SLUG: i32 = 1000;
const DETAIL: i32 = 500;

/// The rows of the outbox and how long the first of them have been there, and the problems of each
/// kind; both counted up to `$1`.
pub const COUNTS: &str = "
    SELECT o.rows, o.oldest, p.missing, p.rejected, p.failed, p.ambiguous
    FROM (SELECT count(*) AS rows, extract(epoch
      FROM clock_timestamp() - min(o.at) FILTER (WHERE isfinite(o.at)))::float8 AS oldest
          FROM (SELECT at FROM agent_sync.outbox LIMIT $1) AS o) AS o,
         (SELECT count(*) FILTER (WHERE p.kind = 'missing_configuration') AS missing,
                 count(*) FILTER (WHERE p.kind = 'rejected') AS rejected,
                 count(*) FILTER (WHERE p.kind = 'failed') AS failed,
                 count(*) FILTER (WHERE p.kind = 'ambiguous') AS ambiguous
          FROM (SELECT kind FROM agent_sync.problem LIMIT $1) AS p) AS p";

/// The server process of this session, and the number of rows of the table `$1` by the statistics
/// of the server, less than 0 without statistics.
pub fn own() -> String {
    format!("SELECT pg_backend_pid(), ({})", report::ESTIMATE)
}

/// `$2` of the first `$1` problems, with slugs and reasons cut at `$3` and `$4` characters, and
/// tenants like slugs: the latest of each kind, then the second latest of each, and so on. So every
/// beginning of the list has a share of each kind, and many problems of one kind hide no other.
pub fn latest_problems(keys: Keys) -> String {
    let tenant = if keys.have_tenants() {
        format!(", {}", shown("left(p.tenant, $3)"))
    } else {
        String::new()
    };
    let slug = shown("left(p.slug, $3)");
    let kinds: Vec<_> = ProblemKind::ALL
        .iter()
        .map(|kind| format!("'{}'", kind.name()))
        .collect();
    format!(
        "
    SELECT {slug}, p.kind, left(p.detail, $4), p.sqlstate, p.since, p.attempts{tenant}
    FROM unnest(ARRAY[{}]) AS k (kind) CROSS JOIN LATERAL (
        SELECT l.*, row_number() OVER (ORDER BY l.since DESC) AS place
        FROM (SELECT f.* FROM (SELECT q.* FROM agent_sync.problem q LIMIT $1) AS f
              WHERE f.kind = k.kind ORDER BY f.since DESC LIMIT $2) AS l) AS p
    ORDER BY p.place, p.since DESC LIMIT $2",
        kinds.join(", ")
    )
}

impl Store {
    /// Counts and lists, in one round trip.
    pub async fn backlog(&self) -> Result<Backlog, QueryError> {
        let listed = i64::try_from(PROBLEMS).unwrap_or(i64::MAX);
        let limits: [Parameter<'_>; 4] = [
            (&COUNTED, Type::INT8),
            (&listed, Type::INT8),
            (&SLUG, Type::INT4),
            (&DETAIL, Type::INT4),
        ];
        let (taken, keys) = (Instant::now(), self.layout.keys());
        let latest = latest_problems(keys);
        let (own, daemons) = (own(), report::daemons());
        let table: [Parameter<'_>; 1] = [(&self.layout.agents.table, Type::TEXT)];
        let (counts, problems, own, daemons) = tokio::join!(
            biased;
            self.db.one(COUNTS, &[(&COUNTED, Type::INT8)]),
            self.db.all(&latest, &limits),
            self.db.one(&own, &table),
            self.db.all(&daemons, &[]),
        );
        let (counts, problems, own) = (counts?, problems?, own?);
        let daemons = match daemons {
            // A server may hide its sessions, which stops nothing.
            Err(QueryError::Postgres(error)) if error.as_db_error().is_some() => None,
            daemons => Some(daemons?),
        };
        let sessions = daemons
            .map(|rows| sessions(own.try_get(0)?, &rows))
            .transpose()?;
        let agents: i64 = own.try_get(1)?;
        let counted = |column| {
            let number: i64 = counts.try_get(column)?;
            Ok::<_, QueryError>(number.clamp(0, COUNTED).unsigned_abs())
        };
        let rows = counted(0)?;
        let oldest: Option<Seconds> = counts.try_get(1)?;
        let problems_of = Kinds {
            missing_configuration: counted(2)?,
            rejected: counted(3)?,
            failed: counted(4)?,
            ambiguous: counted(5)?,
        };
        Ok(Backlog {
            taken,
            rows,
            more_rows: rows >= COUNTED.unsigned_abs(),
            oldest: oldest.map(|Seconds(time)| time),
            problems: problems_of,
            more_problems: problems_of.total() >= COUNTED.unsigned_abs(),
            listed: list(keys, &self.layout.remedies, &problems)?,
            sessions,
            agents: u64::try_from(agents).ok(),
        })
    }
}

/// The sessions of this daemon, which leads, and of those that stand by.
fn sessions(leader: i32, rows: &[Row]) -> Result<Sessions, tokio_postgres::Error> {
    let mut standbys = Vec::new();
    for row in rows {
        let (leads, is_intruder): (bool, bool) =
            (row.try_get("leads")?, row.try_get("is_intruder")?);
        if leads || is_intruder || standbys.len() >= STANDBYS {
            continue;
        }
        let (host, program): (Option<String>, Option<String>) =
            (told(row, "host")?, told(row, "program")?);
        standbys.push(DaemonSession {
            pid: row.try_get("pid")?,
            host: host.map(Into::into),
            program: program.unwrap_or_default().into(),
        });
    }
    Ok(Sessions { leader, standbys })
}

/// As many of them as may be kept.
fn list(
    keys: Keys,
    remedies: &Remedies,
    rows: &[Row],
) -> Result<Vec<Problem>, tokio_postgres::Error> {
    let mut listed = Vec::with_capacity(rows.len());
    let mut bytes = 0;
    for row in rows {
        let problem = problem(keys, remedies, row)?;
        bytes += row.raw_size_bytes() + problem.remedy.len();
        if bytes > LISTED {
            break;
        }
        listed.push(problem);
    }
    Ok(listed)
}

fn problem(keys: Keys, remedies: &Remedies, row: &Row) -> Result<Problem, tokio_postgres::Error> {
    let slug = lossy(row, 0)?;
    let tenant: Option<Lossy> = if keys.have_tenants() {
        row.try_get(6)?
    } else {
        None
    };
    let tenant = tenant.map(|tenant| tenant.0);
    let key = Key {
        tenant: tenant.as_deref().map(Into::into),
        slug: &slug,
    };
    let (kind, sqlstate): (&str, Option<&str>) = (row.try_get(1)?, row.try_get(3)?);
    let detail: &str = row.try_get(2)?;
    Ok(Problem {
        kind: kind.into(),
        detail: detail.into(),
        remedy: remedies.of((kind, detail), sqlstate, &key),
        tenant: tenant.as_deref().map(Into::into),
        slug: slug.as_str().into(),
        sqlstate: sqlstate.map(Into::into),
        since: row.try_get::<_, SystemTime>(4)?,
        attempts: row.try_get(5)?,
    })
}
