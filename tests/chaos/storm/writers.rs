//! The writers: random changes in random transactions, like a UI, a migration and an operator in
//! psql.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio_postgres::SimpleQueryMessage;

use super::link::Link;
use super::tally::Tally;
use super::words::{one, owned, quote, rest, settings};
use super::world::World;

/// The application name of the writers, and the mark of statements that only save agents.
pub const NAME: &str = "storm writer";
/// The mark of statements that only save agents.
pub const SAVE: &str = "/* save */";

/// The number of agents that are changed one by one, and of those that are changed by the hundred.
pub const AGENTS: usize = 32;
/// The number of agents that are changed by the hundred.
pub const CROWD: usize = 300;

/// A writer.
pub struct Writer {
    link: Link,
    rng: Rng,
    name: String,
    stamps: u32,
    two_phase: bool,
    /// Whether the writer uses names that a constraint on the configurations refuses.
    refused: bool,
    /// The name of an agent in a request.
    request: &'static str,
    tally: Tally,
    /// The rows saved in the open transaction.
    open: u64,
}

/// A failed statement, and so a failed transaction.
struct Failed;

type Done = Result<(), Failed>;

impl Writer {
    pub fn new(world: &World, name: String, rng: Rng, refused: bool) -> Self {
        Self {
            two_phase: world.two_phase,
            refused,
            ..Self::at(&world.url("storm_writer"), world.request(), name, rng)
        }
    }

    /// A writer at this URL, where this is the name of an agent in a request.
    pub fn at(url: &str, request: &'static str, name: String, rng: Rng) -> Self {
        Self {
            link: Link::to(url, NAME),
            rng,
            name,
            stamps: 0,
            two_phase: false,
            refused: false,
            request,
            tally: Tally::default(),
            open: 0,
        }
    }

    /// Writes until this time, ends its transaction, and returns its figures.
    pub async fn write(mut self, until: Instant) -> Tally {
        while Instant::now() < until {
            self.link.client().await;
            if self.change().await.is_err() {
                self.open = 0;
                let _ = self.link.client().await.batch_execute("ROLLBACK").await;
            }
            if self.rng.u32(..3) == 0 {
                self.pause(20).await;
            }
        }
        self.tally
    }

    /// One change of a random kind.
    async fn change(&mut self) -> Done {
        match self.rng.u32(..100) {
            0..26 => self.alone_or_not().await,
            26..34 => self.partly().await,
            34..37 => self.unrelated().await,
            37..40 => self.bulk().await,
            40..45 => self.rename().await,
            45..48 => self.swap().await,
            48..52 => self.delete().await,
            52..55 => self.recreate().await,
            55..61 => self.configure().await,
            61..64 => self.function("unconfigure").await,
            64..67 => self.move_configuration().await,
            67..75 => self.edit().await,
            75..78 => self.overwrite().await,
            78..80 => self.function("encode").await,
            80..85 => self.long().await,
            85..90 => self.savepoint().await,
            90..93 => self.abort().await,
            93..95 => self.many().await,
            95..97 => self.ask().await,
            _ if self.two_phase => self.prepared().await,
            _ => self.savepoint().await,
        }
    }

    /// A unique stamp.
    fn stamp(&mut self) -> String {
        self.stamps += 1;
        format!("{}n{}", self.name, self.stamps)
    }

    fn slug(&mut self) -> String {
        format!("agent-{}", self.rng.usize(..AGENTS))
    }

    async fn pause(&mut self, most: u64) {
        tokio::time::sleep(Duration::from_micros(self.rng.u64(..most * 1000))).await;
    }

    /// Runs a statement, and measures one that saves agents.
    async fn run(&mut self, sql: &str) -> Done {
        let start = Instant::now();
        let answer = self.link.held().simple_query(sql).await;
        match answer {
            Ok(messages) => {
                if sql.starts_with(SAVE) {
                    self.tally.saves.push(start.elapsed());
                    for message in messages {
                        if let SimpleQueryMessage::CommandComplete(rows) = message {
                            self.open += rows;
                        }
                    }
                }
                Ok(())
            }
            Err(error) => {
                let state = match error.as_db_error() {
                    None => "gone".to_owned(),
                    // A conflict of slugs is between the writers.
                    Some(db) if db.constraint().is_some_and(is_of_slugs) => {
                        "23505 agents_slug_key".to_owned()
                    }
                    Some(db) => format!(
                        "{} {}",
                        db.code().code(),
                        if is_ours_to_explain(db.code().code()) {
                            ""
                        } else {
                            db.message()
                        }
                    ),
                };
                *self
                    .tally
                    .failures
                    .entry(state.trim().to_owned())
                    .or_default() += 1;
                Err(Failed)
            }
        }
    }

    /// Counts a committed transaction.
    fn committed(&mut self) {
        self.tally.committed += 1;
        self.tally.saved += std::mem::take(&mut self.open);
    }

    async fn alone(&mut self, sql: &str) -> Done {
        self.run(sql).await?;
        self.committed();
        Ok(())
    }

    async fn commit(&mut self) -> Done {
        self.run("COMMIT").await?;
        self.committed();
        Ok(())
    }

    async fn rollback(&mut self) -> Done {
        self.run("ROLLBACK").await?;
        self.open = 0;
        self.tally.undone += 1;
        Ok(())
    }

    /// The statement that saves all columns of an agent, which may not exist yet.
    fn save(&mut self, slug: &str) -> String {
        let stamp = self.stamp();
        let name = if self.refused && self.rng.u32(..12) == 0 {
            "refused"
        } else {
            one(&mut self.rng, &["name", "name", ""])
        };
        let name = if name.is_empty() {
            "''".to_owned()
        } else {
            quote(&format!("{name} {stamp}"))
        };
        let prompt = if self.rng.u32(..5) == 0 {
            "NULL".to_owned()
        } else {
            quote(&format!("prompt {stamp}"))
        };
        let image = if self.rng.bool() {
            "NULL".to_owned()
        } else {
            quote(&format!("{stamp}.png"))
        };
        let settings = if self.rng.u32(..20) == 0 {
            "NULL".to_owned()
        } else {
            quote(&settings(&mut self.rng, &stamp))
        };
        format!(
            "{SAVE} INSERT INTO agents AS a (slug, name, system_prompt, agent_image, voice_settings)
             VALUES ({}, {name}, {prompt}, {image}, {settings}::jsonb)
             ON CONFLICT (slug) DO UPDATE SET name = excluded.name, system_prompt =
               excluded.system_prompt,
             agent_image = excluded.agent_image, voice_settings = excluded.voice_settings",
            quote(slug)
        )
    }

    async fn save_one(&mut self) -> Done {
        let slug = self.slug();
        let save = self.save(&slug);
        self.run(&save).await
    }

    async fn alone_or_not(&mut self) -> Done {
        if self.rng.bool() {
            self.save_one().await?;
            self.committed();
            return Ok(());
        }
        self.run("BEGIN").await?;
        for _ in 0..self.rng.u32(1..4) {
            self.save_one().await?;
        }
        self.commit().await
    }

    /// Saves one column.
    async fn partly(&mut self) -> Done {
        let (slug, stamp) = (self.slug(), self.stamp());
        let settings = quote(&settings(&mut self.rng, &stamp));
        let sets = [
            format!("name = 'name {stamp}'"),
            format!("system_prompt = 'prompt {stamp}'"),
            format!("agent_image = '{stamp}.png'"),
            format!("voice_settings = {settings}::jsonb"),
        ];
        let set = self.rng.choice(&sets).unwrap();
        self.alone(&format!(
            "{SAVE} UPDATE agents SET {set} WHERE slug = '{slug}'"
        ))
        .await
    }

    /// Saves columns that agent-sync does not read (C1).
    async fn unrelated(&mut self) -> Done {
        let (slug, stamp) = (self.slug(), self.stamp());
        self.alone(&format!(
            "{SAVE} UPDATE agents SET description = '{stamp}', enabled = NOT enabled WHERE slug = \
            '{slug}'"
        ))
        .await
    }

    /// A statement over the crowd, or over a part of all agents.
    async fn bulk(&mut self) -> Done {
        let (stamp, part) = (self.stamp(), self.rng.u32(..4));
        let sql = match self.rng.u32(..3) {
            0 => format!(
                "UPDATE agents SET name = 'name {stamp} ' || slug WHERE slug LIKE 'crowd-%'"
            ),
            1 => format!(
                "UPDATE agents SET system_prompt = 'prompt {stamp}' WHERE hashtext(slug) % 4 = \
                {part}"
            ),
            _ => format!(
                "UPDATE agents SET voice_settings = {}::jsonb WHERE slug LIKE 'crowd-%{part}'",
                quote(&settings(&mut self.rng, &stamp))
            ),
        };
        self.alone(&format!("{SAVE} {sql}")).await
    }

    async fn rename(&mut self) -> Done {
        let (from, to) = (self.slug(), self.slug());
        self.alone(&format!(
            "{SAVE} UPDATE agents SET slug = '{to}' WHERE slug = '{from}'"
        ))
        .await
    }

    async fn swap(&mut self) -> Done {
        let (one, other, between) = (self.slug(), self.slug(), self.stamp());
        self.run("BEGIN").await?;
        for (from, to) in [(&one, &between), (&other, &one), (&between, &other)] {
            self.run(&format!(
                "{SAVE} UPDATE agents SET slug = '{to}' WHERE slug = '{from}'"
            ))
            .await?;
        }
        self.commit().await
    }

    async fn delete(&mut self) -> Done {
        let slug = self.slug();
        self.run("BEGIN").await?;
        self.run(&format!("INSERT INTO storm.deleted VALUES ('{slug}')"))
            .await?;
        self.run(&format!("{SAVE} DELETE FROM agents WHERE slug = '{slug}'"))
            .await?;
        self.commit().await
    }

    async fn recreate(&mut self) -> Done {
        let slug = self.slug();
        self.run("BEGIN").await?;
        self.run(&format!("{SAVE} DELETE FROM agents WHERE slug = '{slug}'"))
            .await?;
        let save = self.save(&slug);
        self.run(&save).await?;
        self.commit().await
    }

    async fn configure(&mut self) -> Done {
        let (slug, stamp) = (self.slug(), self.stamp());
        let (rest, owned) = (rest(&mut self.rng, &stamp), owned(&mut self.rng, &stamp));
        let owned = if self.rng.bool() {
            owned
        } else {
            "{}".to_owned()
        };
        let sql = format!(
            "SELECT storm.configure('{slug}', {}, {}, '{stamp}')",
            quote(&rest),
            quote(&owned)
        );
        self.alone(&sql).await
    }

    /// Calls a function with a slug and a stamp.
    async fn function(&mut self, name: &str) -> Done {
        let (slug, stamp) = (self.slug(), self.stamp());
        self.alone(&format!("SELECT storm.{name}('{slug}', '{stamp}')"))
            .await
    }

    async fn move_configuration(&mut self) -> Done {
        let (from, to) = (self.slug(), self.slug());
        self.alone(&format!(
            "UPDATE agent_configurations SET agent_slug = '{to}' WHERE id =
             (SELECT c.id FROM agent_configurations c WHERE c.agent_slug = '{from}' ORDER BY c.id
               LIMIT 1)"
        ))
        .await
    }

    /// Edits foreign parts of a configuration while the daemon writes the others.
    async fn edit(&mut self) -> Done {
        let (slug, stamp) = (self.slug(), self.stamp());
        let path = one(
            &mut self.rng,
            &[
                "{custom}",
                "{custom2}",
                "{tts,extra}",
                "{llm,extra}",
                "{stt,region}",
            ],
        );
        let value = match self.rng.u32(..3) {
            0 => format!("{{\"stamp\": \"{stamp}\", \"exact\": 98765432109876543210.10}}"),
            1 => "0.1000000000000000000001".to_owned(),
            _ => format!("\"{stamp}\""),
        };
        self.alone(&format!(
            "SELECT storm.edit('{slug}', '{path}', {}, '{stamp}')",
            quote(&value)
        ))
        .await
    }

    /// Overwrites a `provider_config` with another one, or with another type.
    async fn overwrite(&mut self) -> Done {
        let (slug, stamp) = (self.slug(), self.stamp());
        let (rest, owned) = match self.rng.u32(..8) {
            0 => ("[1, 2]".to_owned(), None),
            1 => (format!("\"{stamp}\""), None),
            2 => (r#"{"tts": 5, "llm": [1]}"#.to_owned(), None),
            _ => (
                rest(&mut self.rng, &stamp),
                Some(owned(&mut self.rng, &stamp)),
            ),
        };
        let owned = owned.map_or("NULL".to_owned(), |owned| quote(&owned));
        self.alone(&format!(
            "SELECT storm.overwrite('{slug}', {}, {owned}, '{stamp}')",
            quote(&rest)
        ))
        .await
    }

    /// A transaction that commits long after its save, or rolls back.
    async fn long(&mut self) -> Done {
        self.run("BEGIN").await?;
        self.save_one().await?;
        self.pause(300).await;
        if self.rng.bool() {
            self.save_one().await?;
        }
        if self.rng.u32(..4) == 0 {
            self.rollback().await
        } else {
            self.commit().await
        }
    }

    /// Saves before, in and after a savepoint that is rolled back.
    async fn savepoint(&mut self) -> Done {
        self.run("BEGIN").await?;
        if self.rng.bool() {
            self.save_one().await?;
        }
        self.run("SAVEPOINT one").await?;
        let before = self.open;
        self.save_one().await?;
        if self.rng.bool() {
            self.pause(5).await;
        }
        self.run("ROLLBACK TO one").await?;
        self.open = before;
        if self.rng.bool() {
            self.save_one().await?;
        }
        self.commit().await
    }

    async fn abort(&mut self) -> Done {
        self.run("BEGIN").await?;
        for _ in 0..self.rng.u32(1..3) {
            self.save_one().await?;
        }
        self.rollback().await
    }

    /// More saves in one transaction than the trigger guards individually, some in savepoints.
    async fn many(&mut self) -> Done {
        self.run("BEGIN").await?;
        for turn in 0..70 {
            if turn % 16 == 3 {
                self.run("SAVEPOINT turn").await?;
            }
            let (number, stamp) = (self.rng.usize(..CROWD), self.stamp());
            self.run(&format!(
                "{SAVE} UPDATE agents SET name = 'name {stamp}' WHERE slug = 'crowd-{number}'"
            ))
            .await?;
            if turn % 16 == 10 && self.rng.bool() {
                self.run("ROLLBACK TO turn").await?;
            }
        }
        self.commit().await
    }

    /// Requests a slug (I7), changed or not.
    async fn ask(&mut self) -> Done {
        let (slug, request) = (self.slug(), self.request);
        self.alone(&format!(
            "SELECT pg_notify('agent_sync', {request}) FROM (VALUES ('{slug}')) AS a (name)"
        ))
        .await
    }

    /// Two-phase commit. A prepared transaction that is left because the connection was lost is
    /// ended after the round.
    async fn prepared(&mut self) -> Done {
        let name = self.stamp();
        self.run("BEGIN").await?;
        self.save_one().await?;
        self.run(&format!("PREPARE TRANSACTION '{name}'")).await?;
        self.pause(50).await;
        if self.rng.u32(..4) == 0 {
            self.run(&format!("ROLLBACK PREPARED '{name}'")).await?;
            self.open = 0;
            self.tally.undone += 1;
            return Ok(());
        }
        self.run(&format!("COMMIT PREPARED '{name}'")).await?;
        self.committed();
        Ok(())
    }
}

/// The numbers of the saves of the agent `counted`.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counted {
    /// The last one that was sent. A save that failed may be committed.
    sent: u64,
    /// The last one whose commit the server has acknowledged: it must survive every fault.
    pub acknowledged: u64,
}

/// Saves the agent `counted` under increasing numbers, until this time.
pub async fn count(url: String, mut counted: Counted, until: Instant) -> Counted {
    let mut link = Link::to(&url, "storm counter");
    while Instant::now() < until {
        counted.sent += 1;
        let name = format!("counted {}", counted.sent);
        let save = format!("UPDATE agents SET name = '{name}' WHERE slug = 'counted'");
        if let Ok(1) = link.client().await.execute(&save, &[]).await {
            counted.acknowledged = counted.sent;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    counted
}

/// Ends prepared transactions of lost connections while other writers wait for their rows, until
/// the stop flag is set.
pub async fn end_prepared(url: String, stop: Arc<AtomicBool>) {
    let mut link = Link::to(&url, "storm nemesis");
    while !stop.load(Ordering::Relaxed) {
        let left = "SELECT gid FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - \
            interval '2 seconds'";
        for gid in link.texts(left).await {
            // The writer may have ended it already.
            let _ = link
                .client()
                .await
                .batch_execute(&format!("ROLLBACK PREPARED {}", quote(&gid)))
                .await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether the constraint is the one on the slugs of the agents, or that of a partition.
fn is_of_slugs(constraint: &str) -> bool {
    constraint.starts_with("agents_") && constraint.ends_with("slug_key")
}

/// SQLSTATEs whose message adds nothing.
fn is_ours_to_explain(state: &str) -> bool {
    state.starts_with("57P") || state == "40P01"
}
