//! The plan of a round: the faults with their weights, and the choice of some by the seed.

use std::time::Duration;

use fastrand::Rng;

use super::Kind;

/// The faults. A lasting fault begins, and ends after a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL of a daemon, which is started again after a while.
    Kill(usize),
    /// SIGKILL of both daemons for a while.
    KillBoth,
    /// SIGTERM of a daemon, which is started again after a while.
    Stop(usize),
    /// SIGSTOP of a daemon, and SIGCONT after a while.
    Freeze(usize),
    /// The server ends the sessions of the daemons, or some of the writers' sessions.
    EndDaemons,
    EndWriters,
    Restart,
    RestartAtOnce,
    /// The connection of the first daemon is cut, stalls, is slow, is cut before a COMMIT, or loses
    /// the answers after one.
    Cut,
    Stall,
    Delay,
    CutCommit,
    LoseAnswer,
    /// The capture loses its privilege to append for a while; the daemon loses its privilege to
    /// delete.
    DepriveCapture,
    DepriveDaemon,
    /// The triggers are disabled for a while.
    Disable,
    /// Another session locks the outbox for a while, vacuums it, or rewrites it.
    LockOutbox,
    Vacuum,
    Rewrite,
    /// A table of the platform is rewritten: its rows move and keep their versions. Or it is locked
    /// for a while, as by a migration.
    RewriteAgents,
    RewriteConfigurations,
    ClusterConfigurations,
    LockTable,
    /// All triggers are disabled for a while, and then enabled but not ALWAYS; a policy hides the
    /// agents, or the outbox, from the daemon for a while.
    DisableAll,
    HideAgents,
    HideOutbox,
    /// A policy hides the agents until the role of the daemon gets BYPASSRLS.
    SeeMore,
    /// A column of the outbox loses its default for a while, so every append fails; or a
    /// publication forbids deletes from it.
    DropDefault,
    Publish,
    /// A session requests more slugs than the daemon keeps, all of them unknown.
    AskForMany,
    /// The outbox is emptied; the schema is renamed and renamed back; the install loses its record
    /// and is installed again.
    EmptyOutbox,
    SchemaAway,
    LoseRecord,
    /// Another session locks configurations for a while; or some writes take long.
    LockRows,
    SlowWrites,
    /// The index on the slug of the configurations is dropped for a while.
    DropIndex,
    /// The function of the capture is replaced for a while by one that notes nothing.
    ReplaceCapture,
    /// A reload of other rules, and of an invalid file.
    Reload,
    ReloadWrong,
    /// Another install.
    Install,
    /// A pause for a while; the daemons keep their connections, or close them.
    Pause,
    PauseAndRelease,
    /// The indexes of a table are built again.
    Reindex,
    /// The table of problems is rewritten, or emptied; a policy hides it from the daemon for a
    /// while, or the configurations.
    RewriteProblems,
    EmptyProblems,
    HideProblems,
    HideConfigurations,
    /// For a while, a child of the table of agents has other rows with the slugs of some of them.
    AddChild,
    /// The role of the daemon gets another password, the file of the first daemon a little later.
    RotatePassword,
    /// A partition of a table is detached for a while, in a storm of partitions.
    DetachAgents,
    DetachConfigurations,
    /// The standby becomes the primary, in a storm with failover.
    FailOver,
}

/// Every fault with its weight and its name in the report. Those without a weight are of one kind
/// of storm alone, each round of which has one besides the others.
const FAULTS: &[(Fault, u32, &str)] = &[
    (Fault::Kill(0), 6, "SIGKILL"),
    (Fault::Kill(1), 6, "SIGKILL"),
    (Fault::KillBoth, 4, "SIGKILL of both"),
    (Fault::Stop(0), 3, "SIGTERM"),
    (Fault::Stop(1), 3, "SIGTERM"),
    (Fault::Freeze(0), 4, "SIGSTOP"),
    (Fault::Freeze(1), 4, "SIGSTOP"),
    (Fault::EndDaemons, 6, "daemons' sessions ended"),
    (Fault::EndWriters, 4, "writers' sessions ended"),
    (Fault::Restart, 4, "fast restart"),
    (Fault::RestartAtOnce, 4, "immediate restart"),
    (Fault::Cut, 5, "connection cut"),
    (Fault::Stall, 5, "connection stalled"),
    (Fault::Delay, 4, "connection slow"),
    (Fault::CutCommit, 4, "cut before COMMIT"),
    (Fault::LoseAnswer, 1, "answer to COMMIT lost"),
    (Fault::DepriveCapture, 4, "capture without privilege"),
    (Fault::DepriveDaemon, 4, "daemon without privilege"),
    (Fault::Disable, 3, "triggers off"),
    (Fault::LockOutbox, 3, "outbox locked"),
    (Fault::Vacuum, 4, "outbox vacuumed"),
    (Fault::Rewrite, 3, "outbox rewritten"),
    (Fault::RewriteAgents, 3, "agents rewritten"),
    (Fault::RewriteConfigurations, 5, "configurations rewritten"),
    (Fault::ClusterConfigurations, 3, "configurations clustered"),
    (Fault::LockTable, 3, "table locked"),
    (Fault::DisableAll, 2, "all triggers off"),
    (Fault::HideAgents, 3, "agents hidden"),
    (Fault::HideOutbox, 2, "outbox hidden"),
    (Fault::SeeMore, 3, "BYPASSRLS"),
    (Fault::DropDefault, 2, "default dropped"),
    (Fault::Publish, 2, "outbox published"),
    (Fault::AskForMany, 2, "many requests"),
    (Fault::EmptyOutbox, 2, "outbox emptied"),
    (Fault::SchemaAway, 2, "schema away"),
    (Fault::LoseRecord, 2, "record lost"),
    (Fault::LockRows, 5, "configurations locked"),
    (Fault::SlowWrites, 2, "slow writes"),
    (Fault::DropIndex, 3, "index dropped"),
    (Fault::ReplaceCapture, 2, "capture replaced"),
    (Fault::Reload, 3, "other rules"),
    (Fault::ReloadWrong, 3, "wrong rules"),
    (Fault::Install, 3, "installed again"),
    (Fault::Pause, 3, "pause"),
    (Fault::PauseAndRelease, 3, "pause that releases"),
    (Fault::Reindex, 3, "indexes built again"),
    (Fault::RewriteProblems, 2, "problems rewritten"),
    (Fault::EmptyProblems, 2, "problems emptied"),
    (Fault::HideProblems, 2, "problems hidden"),
    (Fault::HideConfigurations, 3, "configurations hidden"),
    (Fault::AddChild, 4, "child with equal slugs"),
    (Fault::RotatePassword, 4, "password rotated"),
    (Fault::DetachAgents, 0, AGENTS_AWAY),
    (Fault::DetachConfigurations, 0, CONFIGURATIONS_AWAY),
    (Fault::FailOver, 0, "failover"),
];

/// The names of [`Fault::DetachAgents`] and [`Fault::DetachConfigurations`].
pub const AGENTS_AWAY: &str = "agents detached";
pub const CONFIGURATIONS_AWAY: &str = "configurations detached";

impl Fault {
    fn name(self) -> &'static str {
        FAULTS.iter().find(|(fault, ..)| *fault == self).unwrap().2
    }

    /// Whether a storm of this kind may have it. A partitioned table has no children by INHERITS.
    fn fits(self, kind: Kind) -> bool {
        kind != Kind::Partitions || self != Self::AddChild
    }

    /// Whether writers may lose their connections.
    fn hits_writers(self) -> bool {
        matches!(
            self,
            Self::EndWriters | Self::Restart | Self::RestartAtOnce | Self::FailOver
        )
    }
}

/// The faults of a round and the time for which the writers work.
#[derive(Debug)]
pub struct Plan {
    pub lasts: Duration,
    pub faults: Vec<(Fault, Duration, Duration)>,
}

impl Plan {
    /// A random plan, equal for equal seeds.
    pub fn of(rng: &mut Rng, kind: Kind) -> Self {
        let lasts = Duration::from_millis(rng.u64(300..900));
        let fitting = FAULTS.iter().filter(|(fault, ..)| fault.fits(kind));
        let total: u32 = fitting.clone().map(|(_, weight, _)| weight).sum();
        let timed = |fault, rng: &mut Rng| {
            let begin = lasts.mul_f64(rng.f64() * 0.8);
            (fault, begin, Duration::from_millis(rng.u64(10..500)))
        };
        let mut faults: Vec<_> = (0..[0, 1, 1, 2, 2, 3][rng.usize(..6)])
            .map(|_| {
                let mut at = rng.u32(..total);
                let fault = fitting.clone().find(|(_, weight, _)| {
                    let hit = at < *weight;
                    at = at.saturating_sub(*weight);
                    hit
                });
                timed(fault.unwrap().0, rng)
            })
            .collect();
        let own: &[Fault] = match kind {
            Kind::Plain | Kind::Tenants => &[],
            Kind::Failover => &[Fault::FailOver],
            Kind::Partitions => &[Fault::DetachAgents, Fault::DetachConfigurations],
        };
        if let Some(fault) = rng.choice(own) {
            faults.push(timed(*fault, rng));
        }
        Self { lasts, faults }
    }

    /// Whether a writer may lose its connection.
    pub fn hits_writers(&self) -> bool {
        self.faults.iter().any(|(fault, ..)| fault.hits_writers())
    }

    /// The names of the faults.
    pub fn names(&self) -> Vec<&'static str> {
        self.faults.iter().map(|(fault, ..)| fault.name()).collect()
    }
}
