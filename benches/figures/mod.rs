//! The figures, one file each, with the names of `--only`.

mod audit;
mod audit_busy;
mod bulk;
mod cpu;
mod fleet;
mod freshness;
mod heal;
mod history;
mod idle;
mod latency;
mod latency_busy;
mod mapping;
mod memory;
mod saves;
mod scale;
mod unrelated;
mod writer_bulk;

use clap::ValueEnum;

use crate::support::lab::Lab;
use crate::support::report::Row;
use crate::support::stats::in_turn;

/// The figures, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Figure {
    Latency,
    LatencyBusy,
    Freshness,
    Bulk,
    WriterBulk,
    History,
    Saves,
    Unrelated,
    Heal,
    Cpu,
    Idle,
    Fleet,
    Scale,
    Memory,
    Mapping,
    Audit,
    AuditBusy,
}

impl Figure {
    /// Its name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::LatencyBusy => "latency_busy",
            Self::Freshness => "freshness",
            Self::Bulk => "bulk",
            Self::WriterBulk => "writer_bulk",
            Self::History => "history",
            Self::Saves => "saves",
            Self::Unrelated => "unrelated",
            Self::Heal => "heal",
            Self::Cpu => "cpu",
            Self::Idle => "idle",
            Self::Fleet => "fleet",
            Self::Scale => "scale",
            Self::Memory => "memory",
            Self::Mapping => "mapping",
            Self::Audit => "audit",
            Self::AuditBusy => "audit_busy",
        }
    }

    /// A description of one line.
    pub fn about(self) -> &'static str {
        match self {
            Self::Latency => "from the commit of an agent to its configuration, idle system",
            Self::LatencyBusy => "the same while 8 writers save other agents",
            Self::Freshness => "the same while 8 writers save as fast as they can",
            Self::Bulk => "agents changed by one statement, until all are in sync",
            Self::WriterBulk => "the writer's own time for that statement",
            Self::History => "what keeping a history costs",
            Self::Saves => "single-row saves per second",
            Self::Unrelated => "saves that change nothing relevant",
            Self::Heal => "from a fault until in sync again",
            Self::Cpu => "the daemon's processor time while agents are saved",
            Self::Idle => "what an idle daemon takes",
            Self::Fleet => "what one daemon with very many databases takes",
            Self::Scale => "drain time and latency by the number of agents",
            Self::Memory => "memory during a drain of a million agents",
            Self::Mapping => "the mapping in process, per agent",
            Self::Audit => "what an audit of a million agents takes, idle system",
            Self::AuditBusy => "what saves notice of an audit of a million agents",
        }
    }

    /// Measures the figure.
    pub async fn measure(self, lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Latency => latency::measure(lab).await,
            Self::LatencyBusy => latency_busy::measure(lab).await,
            Self::Freshness => freshness::measure(lab).await,
            Self::Bulk => bulk::measure(lab).await,
            Self::WriterBulk => writer_bulk::measure(lab).await,
            Self::History => history::measure(lab).await,
            Self::Saves => saves::measure(lab).await,
            Self::Unrelated => unrelated::measure(lab).await,
            Self::Heal => heal::measure(lab).await,
            Self::Cpu => cpu::measure(lab).await,
            Self::Idle => idle::measure(lab).await,
            Self::Fleet => fleet::measure(lab).await,
            Self::Scale => scale::measure(lab).await,
            Self::Memory => memory::measure(lab).await,
            Self::Mapping => mapping::measure(lab).await,
            Self::Audit => audit::measure(lab).await,
            Self::AuditBusy => audit_busy::measure(lab).await,
        }
    }
}

/// A whole number with commas.
fn count(number: u32) -> String {
    crate::support::report::with_commas(&number.to_string())
}
