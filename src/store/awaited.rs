//! The queries of `wait`, read-only.

use postgres_types::Type;

use super::capture::system_identifier;
use super::layout::Layout;
use super::queries::shown;
use super::{Installed, MayRead, queries};
use crate::key::Keys;
use crate::pg::{Db, QueryError};

/// A moment at which no check of every agent was due. A check is entered into the outbox by the
/// statement that notes it in `agent_sync.install`. So everything that was saved before the moment
/// is applied, or has rows in the outbox of transactions with numbers below [`Self::upto`]: by a
/// trigger, or by a check.
///
/// [`Self::take`] is the only way to one: rows that were listed while a check was due would lack
/// those that it enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The number above that of every transaction that had ended.
    pub upto: i64,
    /// Whether this role can know whether a check is due.
    pub is_certain: bool,
    /// The seal and the count that the last check has noted.
    noted: (String, i64),
}

impl Mark {
    /// The present moment; none while a check of every agent is due.
    pub async fn take(db: &Db, layout: &Layout) -> Result<Option<Self>, QueryError> {
        // The cheap question first.
        let installed = Installed::read(db).await?;
        if installed.is_none_or(|installed| installed.owes_check()) {
            return Ok(None);
        }
        let server = system_identifier(db).await?;
        let [agents, configurations] = layout.tables();
        let of = [agents, configurations, (&server as _, Type::TEXT)];
        // Only a question of the catalog tells that a trigger was switched off for a while.
        let Some(row) = db.opt(&queries::checks(), &of).await? else {
            return Ok(None);
        };
        let installed = Installed::of(&row)?;
        let is_unsealed: Option<bool> = row.try_get("is_unsealed")?;
        if installed.owes_check() || is_unsealed == Some(true) {
            return Ok(None);
        }
        Ok(Some(Self {
            upto: row.try_get("upto")?,
            is_certain: is_unsealed.is_some(),
            noted: (row.try_get("seal")?, installed.uncaptured_seen),
        }))
    }

    /// Whether no check has been noted between the two moments. A check may make good rows of the
    /// outbox that were lost, and its own are newer than the first moment.
    pub fn is_valid_at(&self, later: &Self) -> bool {
        self.noted == later.noted
    }
}

/// Whether the row `alias` of a table of ours is about one of the names `$slugs`, unless that is
/// null, and, by its tenant `of`, about the tenant `$tenant`, likewise.
fn is_named(keys: Keys, (alias, of): (&str, &str), slugs: &str, tenant: &str) -> String {
    let of_tenant = if keys.have_tenants() {
        format!(" AND ({tenant}::text IS NULL OR {of} = {tenant})")
    } else {
        String::new()
    };
    let plain = if keys.have_tenants() {
        format!(" OR {alias}.tenant || '/' || {alias}.slug = ANY ({slugs}::text[])")
    } else {
        String::new()
    };
    format!("({slugs}::text[] IS NULL OR {alias}.slug = ANY ({slugs}::text[]){plain}){of_tenant}")
}

/// How many keys, counted up to 1,000 rows, have a row in the outbox whose transaction has a number
/// below `$1`; with `$2` only of these names, and with `$3` only of this tenant. A row tells the
/// age of its transaction, and the present number less the age is the whole number. It is a little
/// too small while transactions run, so a later change may count as well.
pub fn awaited(keys: Keys) -> String {
    format!(
        "
    SELECT count(DISTINCT w.key) FROM (
        SELECT {} AS key FROM agent_sync.outbox o
        WHERE pg_snapshot_xmax(pg_current_snapshot())::text::int8 - age(o.xmin) < $1::int8
          AND {}
        LIMIT 1000) AS w",
        keys.of_row("o"),
        // A row of the outbox without tenant is about every tenant.
        is_named(keys, ("o", "coalesce(o.tenant, $3)"), "$2", "$3")
    )
}

/// The first 20 problems of the names `$1`, unless that is null, and of the tenant `$2`, likewise:
/// the columns of the key, kind, reason and SQLSTATE.
pub fn problems_of_named(keys: Keys) -> String {
    let column = |name| format!("{} AS {name}", shown(&format!("p.{name}")));
    let tenant = keys.have_tenants().then(|| column("tenant"));
    let key: Vec<String> = tenant.into_iter().chain([column("slug")]).collect();
    format!(
        "
    SELECT {}, p.kind, p.detail, p.sqlstate FROM agent_sync.problem p
    WHERE {} ORDER BY p.since, p.slug LIMIT 20",
        key.join(", "),
        is_named(keys, ("p", "p.tenant"), "$1", "$2")
    )
}

/// Those of the names `$1` that no agent has: of the tenant `$2`, unless that is null.
pub fn unknown(layout: &Layout, _: MayRead) -> String {
    let agents = &layout.agents;
    let (slug, of_tenant) = (agents.lookup("a"), agents.tenant.as_ref());
    let of_tenant =
        of_tenant.map_or_else(|| "true".to_owned(), |tenant| tenant.is("a", "$2::text"));
    let table = &agents.table;
    // A condition of its own, so that an index can serve the first one.
    let with_slash = agents.tenant.as_ref().map(|_| {
        format!(
            " AND (u.slug NOT LIKE '%/%' OR $2::text IS NOT NULL
                OR NOT EXISTS (SELECT FROM {table} a WHERE {} = u.slug))",
            agents.plain_key("a")
        )
    });
    format!(
        "SELECT u.slug FROM unnest($1::text[]) AS u (slug)
         WHERE NOT EXISTS (SELECT FROM {table} a
                           WHERE {slug} = u.slug AND ($2::text IS NULL OR {of_tenant})){}",
        with_slash.unwrap_or_default()
    )
}
