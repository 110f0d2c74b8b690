//! The figures of the storm.

use std::collections::BTreeMap;
use std::time::Duration;

/// The counts and times of one round or of all.
#[derive(Debug, Default)]
pub struct Tally {
    /// The number of finished rounds.
    pub rounds: u32,
    /// The number of injections of each fault.
    pub faults: BTreeMap<&'static str, u64>,
    /// Rows of `agents` in transactions that committed.
    pub saved: u64,
    /// Transactions of writers: committed, and rolled back by the writer.
    pub committed: u64,
    /// Transactions that the writer rolled back.
    pub undone: u64,
    /// Failed statements by SQLSTATE; `gone` for a lost connection.
    pub failures: BTreeMap<String, u64>,
    /// The times from the end of the faults and the pause of the writers until everything is in
    /// sync.
    pub heals: Vec<Duration>,
    /// The longest of these times, and the faults of its round.
    pub slowest: (Duration, String),
    /// The duration of each save of an agent.
    pub saves: Vec<Duration>,
    /// The times from the commit of a save without other load to its configuration.
    pub pings: Vec<Duration>,
    /// The number of checks of the locks that writers wait for.
    pub looks: u64,
}

impl Tally {
    /// Adds the figures of a writer.
    pub fn add(&mut self, other: Self) {
        self.saved += other.saved;
        self.committed += other.committed;
        self.undone += other.undone;
        self.looks += other.looks;
        self.saves.extend(other.saves);
        for (state, times) in other.failures {
            *self.failures.entry(state).or_default() += times;
        }
    }

    /// Adds the time until everything was in sync, with the faults before it.
    pub fn heal(&mut self, took: Duration, what: &str) {
        if took > self.slowest.0 {
            self.slowest = (took, what.to_owned());
        }
        self.heals.push(took);
    }

    /// Prints all figures.
    pub fn print(&self, seed: u64, took: Duration, written: &str) {
        let list = |counts: Vec<String>| {
            if counts.is_empty() {
                "none".to_owned()
            } else {
                counts.join(", ")
            }
        };
        let faults: u64 = self.faults.values().sum();
        eprintln!(
            "storm: {} rounds in {:.0} s, seed {seed}, no violation",
            self.rounds,
            took.as_secs_f64()
        );
        eprintln!(
            "  faults    {faults}: {}",
            list(
                self.faults
                    .iter()
                    .map(|(what, times)| format!("{what} {times}"))
                    .collect()
            )
        );
        eprintln!(
            "  saves     {} rows in {} transactions; {} more undone by their writers",
            self.saved, self.committed, self.undone
        );
        eprintln!(
            "  failed    {}",
            list(
                self.failures
                    .iter()
                    .map(|(state, times)| format!("{state} {times}"))
                    .collect()
            )
        );
        eprintln!("  synced    {written} configurations written by daemons");
        eprintln!("  heal      {}", Percentiles(self.heals.clone()));
        eprintln!("            longest after {}", self.slowest.1);
        eprintln!("  a save    {}", Percentiles(self.saves.clone()));
        eprintln!(
            "  to its configuration, in quiet  {}",
            Percentiles(self.pings.clone())
        );
        eprintln!(
            "  locks     {} looks, nobody waited for agent-sync",
            self.looks
        );
    }
}

struct Percentiles(Vec<Duration>);

impl std::fmt::Display for Percentiles {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let Some(last) = sorted.last() else {
            return out.write_str("never measured");
        };
        let at = |percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)];
        write!(
            out,
            "p50 {:.1?}, p99 {:.1?}, max {last:.1?}, of {}",
            at(50),
            at(99),
            sorted.len()
        )
    }
}
