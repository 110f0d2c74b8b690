//! The keys that the daemon itself puts into the outbox or announces, and the deletion of expired
//! history.

use std::time::Duration;

use postgres_types::Type;

use super::{Store, queries};
use crate::pg::{Db, Parameter, QueryError, Seconds};
use crate::settings::History;

/// The bounds of the time until the next attempt of a failed write.
const SOONEST: Duration = Duration::from_millis(10);
const LATEST: Duration = Duration::from_secs(3600);

impl Store {
    /// Puts the agents and problems that requests name (`Agents::names`) into the outbox (I7):
    /// [`queries::MOST_REQUESTED`] at most. Returns whether these are all.
    pub async fn enqueue_known(&self, names: &[String]) -> Result<bool, QueryError> {
        let keys = self.layout.agents.keys_of(names);
        let mut parameters: Vec<Parameter<'_>> = vec![(&keys, Type::TEXT_ARRAY)];
        if self.layout.keys().have_tenants() {
            parameters.push((&names, Type::TEXT_ARRAY));
        }
        let query = queries::enqueue_known(&self.layout);
        let found: i64 = self.db.value(&query, &parameters).await?;
        Ok(found <= queries::MOST_REQUESTED)
    }

    /// Puts every agent into the outbox.
    pub async fn enqueue_all(&self) -> Result<(), QueryError> {
        self.db.run(&queries::enqueue_all(&self.layout), &[]).await
    }

    /// Puts every agent into the outbox that is not there yet.
    pub async fn enqueue_absent(&self) -> Result<(), QueryError> {
        let enqueue = queries::enqueue_absent(&self.layout);
        self.planned(queries::WHOLE_TABLES, &enqueue).await
    }

    /// Runs a statement with settings of the planner of its own, in one round trip.
    async fn planned(&self, settings: &str, query: &str) -> Result<(), QueryError> {
        let settings = format!("BEGIN; {settings}");
        // After an error PostgreSQL takes COMMIT for ROLLBACK.
        let (begun, done, committed) = tokio::join!(
            biased;
            self.db.batch(&settings),
            self.db.run(query, &[]),
            self.db.batch("COMMIT"),
        );
        begun?;
        done?;
        committed
    }

    /// Puts every agent into the outbox because of `uncaptured` missed changes, and notes in
    /// `agent_sync.install` that they are settled. The caller has waited for the end of all their
    /// [savers](Store::savers).
    pub async fn enqueue_uncaptured(&self, uncaptured: i64) -> Result<(), QueryError> {
        self.db
            .run(
                &queries::enqueue_uncaptured(&self.layout),
                &[(&uncaptured, Type::INT8)],
            )
            .await
    }

    /// Puts every tenant's agent with one of these slugs into the outbox.
    pub(super) async fn enqueue_tenants(&self, db: &Db, slugs: &[&str]) -> Result<(), QueryError> {
        match queries::enqueue_tenants(&self.layout) {
            Some(enqueue) if !slugs.is_empty() => {
                db.run(&enqueue, &[(&slugs, Type::TEXT_ARRAY)]).await
            }
            _ => Ok(()),
        }
    }

    /// Notifies the channel of the changed keys. A reader can divide a key, whatever the tenant is.
    pub(super) async fn announce_changes(
        &self,
        db: &Db,
        channel: Option<&str>,
        changed: &[&str],
    ) -> Result<(), QueryError> {
        let Some(channel) = channel.filter(|_| !changed.is_empty()) else {
            return Ok(());
        };
        let news: [Parameter<'_>; 2] = [(&channel, Type::TEXT), (&changed, Type::TEXT_ARRAY)];
        db.run(queries::ANNOUNCE, &news).await
    }

    /// Whether a lock on a whole table keeps every batch from being written.
    pub async fn writes_are_locked(&self) -> Result<bool, QueryError> {
        let configurations = &self.layout.configurations.table;
        let table: [Parameter<'_>; 1] = [(configurations, Type::TEXT)];
        self.db.value(queries::WRITES_ARE_LOCKED, &table).await
    }

    /// The open transactions of others that may have saved: see [`queries::SAVERS`].
    pub async fn savers(&self) -> Result<Vec<String>, QueryError> {
        let tables = self.layout.tables();
        self.db.column(queries::SAVERS, &tables).await
    }

    /// Puts the problems that a new check may clear into the outbox.
    pub async fn sweep_problems(&self) -> Result<(), QueryError> {
        for (settings, look) in queries::looks(&self.layout) {
            self.planned(settings, &look).await?;
        }
        Ok(())
    }

    /// Puts the slugs whose retry is due into the outbox. Returns the time until the next retry.
    pub async fn enqueue_retries(&self) -> Result<Option<Duration>, QueryError> {
        let enqueue = queries::enqueue_retries(self.layout.keys());
        self.db.run(&enqueue, &[]).await?;
        let next: Option<Seconds> = self.db.value(queries::NEXT_RETRY, &[]).await?;
        Ok(next.map(|Seconds(time)| time.clamp(SOONEST, LATEST)))
    }

    /// Deletes one portion of the expired history. Returns whether there may be more.
    pub async fn prune_history(&self, history: &History) -> Result<bool, QueryError> {
        const PORTION: i64 = 2000;
        let (keep, most) = (history.keep.as_secs_f64(), i64::from(history.max_rows));
        let limits: [Parameter<'_>; 3] = [
            (&keep, Type::FLOAT8),
            (&most, Type::INT8),
            (&PORTION, Type::INT8),
        ];
        let pruned = self.db.run_counted(queries::PRUNE_HISTORY, &limits).await?;
        Ok(pruned >= PORTION.unsigned_abs())
    }
}
