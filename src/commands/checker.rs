//! Compares databases with the mapping and prints the result, for `check` and for the first step of
//! `reconcile`.

mod indexes;
mod summary;
mod unknown;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use postgres_types::Type;

use super::groups::Groups;
use super::named::named;
use super::near::{self, NearSlugs};
use super::page::Page;
use super::tenant::Search;
use super::todo::Todo;
use super::unmapped::UnmappedCount;
use super::unmatched;
use super::verdicts::{lines, object};
use crate::exit::{Exit, Fault};
use crate::mapping::Rules;
use crate::pg::{Db, QueryError};
use crate::settings::{Database, Settings};
use crate::show::CYAN;
use crate::store::{Layout, owners, pause, report};
use crate::survey::{self, Comparison, Scope, Tally, Verdict, survey};

/// The remedy where the schema `agent_sync` is absent or closed to this role.
const INSTALL: &str = "run `agent-sync install` for this database; where it is installed, take the \
    role of the daemon or of the owner";

/// Compares databases with the mapping and prints the agents to report.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Checker<'a> {
    settings: &'a Settings,
    rules: &'a Rules,
    /// The requested slugs; an empty list means every agent.
    slugs: Vec<&'a str>,
    /// The requested tenant.
    tenant: Option<&'a str>,
    json: bool,
    several: bool,
    /// Set by `reconcile`: collects the agents that a drain can repair and prints only the others.
    to_reconcile: bool,
    /// Whether agents in sync that have a warning are printed.
    remarks: bool,
    /// The most agents to collect in each database.
    sample: Option<u64>,
    seen: BTreeSet<&'a str>,
    sought: Search,
    /// The slugs that are similar to requested ones without an agent.
    near: NearSlugs,
    /// The settings that no rule reads in the database of the check, if they are to be listed.
    unmapped: Option<UnmappedCount>,
    pub(super) page: Page,
}

/// The result of the check of one database.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) tally: Tally,
    /// Whether agent-sync is installed and readable by this role.
    pub(super) can_read_notes: bool,
    /// Whether row-level security may hide rows from this role.
    pub(super) hidden: bool,
    /// Whether an index of the slugs does not find rows that are there; only of every agent.
    pub(super) misses_rows: bool,
    /// The configurations that match no agent; only for a `check` of every agent.
    unmatched: unmatched::Counted,
    /// The keys that a daemon has to process; empty for `check`.
    pub(super) todo: Todo,
}

impl<'a> Checker<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        rules: &'a Rules,
        (slugs, tenant): (&'a [String], Option<&'a str>),
        json: bool,
        databases: usize,
    ) -> Self {
        let slugs = slugs.iter().map(String::as_str).collect();
        Self {
            settings,
            rules,
            slugs,
            tenant,
            json,
            several: databases > 1,
            to_reconcile: false,
            remarks: false,
            sample: None,
            seen: BTreeSet::new(),
            sought: Search::of(tenant),
            near: NearSlugs::default(),
            unmapped: None,
            page: Page::new(),
        }
    }

    /// Lists the settings that no rule reads after the summary of each database.
    pub(super) fn list_unmapped(&mut self) {
        self.unmapped = Some(UnmappedCount::default());
    }

    /// Checks one database and prints the agents and the summary.
    pub(super) async fn database(&mut self, database: &Database) -> anyhow::Result<Exit> {
        let session = super::open_or_fault("check", database, self.settings).await?;
        let checked = self.survey(database, session.db()).await?;
        let led = session.db().value(report::LED, &[]).await;
        let led: bool = led.map_err(|error| super::unanswered(database, error))?;
        let paused = if checked.can_read_notes && !led {
            let pause = pause::in_force(session.db()).await;
            pause
                .map_err(|error| super::unanswered(database, error))?
                .is_some()
        } else {
            false
        };
        self.sum_up(database, &checked, led, paused);
        if let Some(unmapped) = &mut self.unmapped {
            let counted = std::mem::take(unmapped);
            counted.print(&mut self.page, &database.name, self.rules, self.json);
        }
        let tally = &checked.tally;
        let stays = tally.drifted + tally.missing + tally.rejected + tally.ambiguous;
        let stays = stays + if led { 0 } else { tally.pending };
        let is_known = !checked.hidden && !checked.misses_rows;
        Ok(if stays == 0 && is_known {
            Exit::Done
        } else {
            Exit::Found
        })
    }

    /// Compares the agents of one database. Prints each one that is out of sync or was requested by
    /// slug, and returns the counts.
    pub(super) async fn survey(&mut self, database: &Database, db: &Db) -> anyhow::Result<Checked> {
        let layout = Layout::read(db, database).await;
        let layout = layout.map_err(|error| super::no_layout(database, error))?;
        let unanswered = |error| super::unanswered(database, error);
        let cautions = self.cautions(database, db, &layout).await;
        let (hidden, misses_rows) = cautions.map_err(unanswered)?;
        let can_read_notes = self.can_read_notes(database, db).await?;
        let total = self.total(db, &layout).await.map_err(unanswered)?;
        self.begin(&database.name);
        let mut checked = Checked {
            can_read_notes,
            hidden,
            misses_rows,
            ..Checked::default()
        };
        let (way, given) = named(database, &layout, &self.slugs, self.tenant)?;
        self.sought.seek(db, &layout).await.map_err(unanswered)?;
        let of_all = way.is_none() && !self.to_reconcile;
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        let scope = Scope {
            named: way.map(|way| (way, &*given)),
            can_read_notes,
            ..Scope::with_lists()
        };
        let (by_name, rules, mut found) = (!self.slugs.is_empty(), self.rules, BTreeSet::new());
        let mut groups = Groups::new(&self.page, by_name || self.json);
        self.page.hold();
        let outcome = survey(db, &layout, rules, scope, |comparison| {
            checked.tally.add(comparison);
            if let Some(unmapped) = &mut self.unmapped {
                unmapped.add(&comparison.unmapped);
            }
            // `check` collects no slugs, so its memory does not grow with the number of agents.
            if self.to_reconcile {
                checked.todo.add(comparison, self.sample);
            }
            if by_name {
                let key = comparison.parts();
                found.extend([key.slug.to_owned(), key.plain().into_owned()]);
            }
            if self.is_printed(comparison, by_name) && groups.add(comparison) {
                self.print(database, comparison);
            }
            self.go_on(database, checked.tally.agents, total)
        })
        .await;
        self.page.release();
        self.page.clear();
        groups.print(&mut self.page);
        outcome.map_err(|error| super::interrupted(database, error))?;
        let is_found = |name: &&str| layout.agents.names(name).iter().any(|n| found.contains(n));
        self.seen
            .extend(self.slugs.iter().copied().filter(is_found));
        self.look_for_similar(db, &layout).await;
        if of_all {
            let counted = survey::unmatched(db, &layout, unmatched::LIMIT).await;
            checked.unmatched = counted.map_err(unanswered)?.into();
        }
        Ok(checked)
    }

    /// Looks for slugs that are similar to the requested ones that no agent has so far.
    async fn look_for_similar(&mut self, db: &Db, layout: &Layout) {
        let unseen = self.slugs.iter().filter(|slug| !self.seen.contains(*slug));
        let unseen: Vec<&str> = unseen.take(near::MOST).copied().collect();
        self.near.look(db, layout, &unseen, self.tenant).await;
    }

    /// Shows the progress, and stops if nobody reads the output any more.
    fn go_on(&mut self, database: &Database, done: i64, total: i64) -> ControlFlow<()> {
        self.page.progress(&database.name, done, total);
        if self.page.is_gone() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Names the database above its agents, or beside each of them.
    fn begin(&mut self, name: &str) {
        if self.several && !self.json && self.to_reconcile {
            self.page.under(Some(name.to_owned()));
        } else if self.several && !self.json {
            self.page.line(format_args!("{CYAN}{name}{CYAN:#}"));
        }
    }

    /// Whether this role can read what is noted: says so if not. Fails if it must not, because the
    /// objects belong to strangers.
    async fn can_read_notes(&mut self, database: &Database, db: &Db) -> anyhow::Result<bool> {
        let unanswered = |error| super::unanswered(database, error);
        if !notes_are_readable(db).await.map_err(unanswered)? {
            self.page.note(format_args!(
                "database {}: agent-sync is not installed there, or closed to this role, so the \
                pending changes are not known\n  try: {INSTALL}",
                database.name
            ));
            return Ok(false);
        }
        // The ownership check comes after the test of existence and before the first use of the
        // schema.
        let owners = owners(db, database).await.map_err(unanswered)?;
        if let Some(untrusted) = owners.untrusted {
            let schema = db.schema();
            let what = format!("database {}: {untrusted}", database.name);
            let fault = Fault::new(Exit::Failed, schema.localize_message(&what));
            return Err(fault
                .remedy(schema.localize_message(&untrusted.remedy()))
                .into());
        }
        Ok(true)
    }

    /// Turns this checker into the first step of `reconcile`, of so many agents of each database.
    pub(super) fn reconciling(self, sample: Option<u64>) -> Self {
        Self {
            to_reconcile: true,
            sample,
            ..self
        }
    }

    /// With `remarks`, agents in sync that have a warning are printed as well.
    pub(super) fn with_remarks(self, remarks: bool) -> Self {
        Self { remarks, ..self }
    }

    /// Whether an agent is printed; `by_name` marks an agent that was requested.
    fn is_printed(&self, comparison: &Comparison, by_name: bool) -> bool {
        match comparison.verdict() {
            Verdict::Missing | Verdict::Rejected | Verdict::Ambiguous => true,
            Verdict::Pending | Verdict::Drifted => !self.to_reconcile,
            Verdict::InSync if self.remarks && !comparison.remarks.is_empty() => true,
            Verdict::InSync => by_name && !self.to_reconcile,
        }
    }

    /// The approximate number of agents to compare; 0 or less if the statistics have no number.
    async fn total(&self, db: &Db, layout: &Layout) -> Result<i64, QueryError> {
        if !self.slugs.is_empty() || self.tenant.is_some() {
            return Ok(i64::try_from(self.slugs.len()).unwrap_or(0));
        }
        let table = &layout.agents.table;
        db.value(report::ESTIMATE, &[(table, Type::TEXT)]).await
    }

    fn print(&mut self, database: &Database, comparison: &Comparison) {
        if self.json {
            self.page.json(&object(&database.name, comparison));
        } else {
            for line in lines(comparison) {
                self.page.line(line);
            }
        }
    }
}

/// Whether this role can read `agent_sync.outbox` and `agent_sync.problem`.
async fn notes_are_readable(db: &Db) -> Result<bool, QueryError> {
    for name in ["agent_sync.outbox", "agent_sync.problem"] {
        let name = db.schema().localize(name);
        let readable: Option<bool> = db.value(report::READABLE, &[(&name, Type::TEXT)]).await?;
        if readable != Some(true) {
            return Ok(false);
        }
    }
    Ok(true)
}
