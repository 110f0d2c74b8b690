//! What Linux says of a process in /proc: its time on the processor, its wake-ups, its memory.

use std::fs::read_to_string;
use std::path::Path;

use anyhow::Context as _;

/// How many ticks of /proc/PID/stat a second has: 100 on every Linux there is (`USER_HZ`).
const TICKS: f64 = 100.0;

/// The fields of /proc/PID/stat after the name, from the state on. None if the process is gone.
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

/// Whether the process runs: it is there, and no corpse.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| {
        fields
            .first()
            .is_some_and(|state| state != "Z" && state != "X")
    })
}

/// The processor time of a process so far in seconds, to 10 ms.
pub fn cpu(pid: u32) -> anyhow::Result<f64> {
    let fields = stat(pid).with_context(|| format!("process {pid} is gone"))?;
    Ok(ticks(&fields, 11..13) as f64 / TICKS)
}

/// The processor time of a process and of all its children so far in seconds, also of those that
/// have ended.
pub fn cpu_of_family(parent: u32) -> anyhow::Result<f64> {
    let fields = stat(parent).with_context(|| format!("process {parent} is gone"))?;
    let mut sum = ticks(&fields, 11..15);
    for entry in std::fs::read_dir("/proc").context("could not read /proc")? {
        let name = entry.context("could not read /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end while we read.
        let Some(fields) = stat(pid) else { continue };
        if fields.get(1).and_then(|field| field.parse().ok()) == Some(parent) {
            sum += ticks(&fields, 11..13);
        }
    }
    Ok(sum as f64 / TICKS)
}

/// What the threads of a process have done so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Activity {
    /// Time on the processor, to the nanosecond.
    pub cpu_seconds: f64,
    /// How often they went to sleep, and so were woken up.
    pub wakeups: u64,
}

/// The activity of a process. Threads that have ended do not count; the daemon has none that do.
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

/// A line of /proc/PID/status that says how much memory, in KiB.
pub fn memory_kib(pid: u32, what: &str) -> anyhow::Result<f64> {
    Ok(field(
        Path::new(&format!("/proc/{pid}/status")),
        &format!("{what}:"),
    )? as f64)
}

/// Makes the kernel forget the most memory that a process has had.
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
