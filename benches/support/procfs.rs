//! Reads the CPU time, the wake-ups and the memory of a process from /proc.

use anyhow::Context as _;
use procfs::process::{ClearRefs, Process, Stat, Status, all_processes};
use procfs::ticks_per_second;

fn process(pid: u32) -> anyhow::Result<Process> {
    let process = Process::new(i32::try_from(pid)?);
    process.with_context(|| format!("process {pid} is gone"))
}

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    process(pid).is_ok_and(|process| process.is_alive())
}

fn own_ticks(stat: &Stat) -> u64 {
    stat.utime + stat.stime
}

/// The CPU time of a process so far, in seconds, with a resolution of 10 ms.
pub fn cpu(pid: u32) -> anyhow::Result<f64> {
    let stat = process(pid)?.stat().context("the process is gone")?;
    Ok(own_ticks(&stat) as f64 / ticks_per_second() as f64)
}

/// The CPU time of a process and of all its children so far, in seconds, including ended ones.
pub fn cpu_of_family(parent: u32) -> anyhow::Result<f64> {
    let stat = process(parent)?.stat().context("the process is gone")?;
    let ended = u64::try_from(stat.cutime + stat.cstime)?;
    // A process may end during this loop.
    let running = all_processes()
        .context("could not read /proc")?
        .filter_map(|process| process.ok()?.stat().ok())
        .filter(|child| child.ppid == stat.pid)
        .map(|child| own_ticks(&child));
    let sum = own_ticks(&stat) + ended + running.sum::<u64>();
    Ok(sum as f64 / ticks_per_second() as f64)
}

/// The CPU time of the ended children of this process so far, in seconds.
pub fn cpu_of_children() -> anyhow::Result<f64> {
    let stat = process(std::process::id())?.stat()?;
    let ended = u64::try_from(stat.cutime + stat.cstime)?;
    Ok(ended as f64 / ticks_per_second() as f64)
}

/// The activity of the threads of a process so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Activity {
    /// The CPU time, in seconds, with a resolution of 1 ns.
    pub cpu_seconds: f64,
    /// The number of voluntary context switches.
    pub wakeups: u64,
}

/// The activity of a process. Ended threads do not count; the daemon has none.
pub fn activity(pid: u32) -> anyhow::Result<Activity> {
    let mut sum = Activity::default();
    let mut nanoseconds = 0;
    for task in process(pid)?.tasks().context("the daemon is gone")? {
        let task = task.context("the daemon is gone")?;
        let schedule = task.schedstat().context("this kernel keeps no schedstat")?;
        nanoseconds += schedule.sum_exec_runtime;
        let switches = task.status()?.voluntary_ctxt_switches;
        sum.wakeups += switches.context("the status has no voluntary_ctxt_switches")?;
    }
    sum.cpu_seconds = nanoseconds as f64 / 1e9;
    Ok(sum)
}

/// A memory value of /proc/PID/status, in KiB.
pub fn memory_kib(pid: u32, what: fn(&Status) -> Option<u64>) -> anyhow::Result<f64> {
    let status = process(pid)?.status().context("the process is gone")?;
    Ok(what(&status).context("the status does not have this value")? as f64)
}

/// Resets the kernel's peak memory of a process.
pub fn reset_peak(pid: u32) -> anyhow::Result<()> {
    let reset = process(pid)?.clear_refs(ClearRefs::PeakRSS);
    reset.context("could not reset VmHWM of the daemon")
}
