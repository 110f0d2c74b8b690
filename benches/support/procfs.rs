//! Reads the CPU time, the wake-ups and the memory of a process from /proc.

use std::fs::read_to_string;
use std::path::Path;

use anyhow::Context as _;

/// The ticks per second in /proc/PID/stat; 100 on every Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

/// The fields of /proc/PID/stat after the name, starting with the state; `None` if the process is
/// gone.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn ticks(fields: &[String], which: std::ops::Range<usize>) -> u64 {
    fields
        .get(which)
        .unwrap_or_default()
        .iter()
        .filter_map(|field| field.parse::<u64>().ok())
        .sum()
}

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| {
        fields
            .first()
            .is_some_and(|state| state != "Z" && state != "X")
    })
}

/// The CPU time of a process so far, in seconds, with a resolution of 10 ms.
pub fn cpu(pid: u32) -> anyhow::Result<f64> {
    let fields = stat(pid).with_context(|| format!("process {pid} is gone"))?;
    Ok(ticks(&fields, 11..13) as f64 / TICKS)
}

/// The CPU time of a process and of all its children so far, in seconds, including ended ones.
pub fn cpu_of_family(parent: u32) -> anyhow::Result<f64> {
    let fields = stat(parent).with_context(|| format!("process {parent} is gone"))?;
    let mut sum = ticks(&fields, 11..15);
    for entry in std::fs::read_dir("/proc").context("could not read /proc")? {
        let name = entry.context("could not read /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end during this loop.
        let Some(fields) = stat(pid) else { continue };
        if fields.get(1).and_then(|field| field.parse().ok()) == Some(parent) {
            sum += ticks(&fields, 11..13);
        }
    }
    Ok(sum as f64 / TICKS)
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
    let mut nanoseconds = 0_u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).context("the daemon is gone")? {
        let task = task.context("the daemon is gone")?.path();
        let schedule =
            read_to_string(task.join("schedstat")).context("this kernel keeps no schedstat")?;
        let on_cpu = schedule
            .split_whitespace()
            .next()
            .and_then(|field| field.parse::<u64>().ok());
        nanoseconds += on_cpu.context("schedstat is not as expected")?;
        sum.wakeups += field(&task.join("status"), "voluntary_ctxt_switches:")?;
    }
    sum.cpu_seconds = nanoseconds as f64 / 1e9;
    Ok(sum)
}

/// A memory value of /proc/PID/status, in KiB.
pub fn memory_kib(pid: u32, what: &str) -> anyhow::Result<f64> {
    Ok(field(
        Path::new(&format!("/proc/{pid}/status")),
        &format!("{what}:"),
    )? as f64)
}

/// Resets the kernel's peak memory of a process.
pub fn reset_peak(pid: u32) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
        .context("could not reset VmHWM of the daemon")
}

fn field(path: &Path, name: &str) -> anyhow::Result<u64> {
    let text =
        read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    let value = text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    value.with_context(|| format!("{} has no {name}", path.display()))
}
