//! The resource use of the process, from `/proc`. Every value is `None` without `/proc`.

use std::fs;

/// The ticks per second in `/proc/self/stat`; 100 on every Linux that Rust supports.
const TICKS: f64 = 100.0;

/// The CPU time of the process, in seconds.
pub(super) fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may contain any character.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields
        .split_whitespace()
        .skip(11)
        .map(|field| field.parse::<f64>().unwrap_or(0.0));
    Some((times.next()? + times.next()?) / TICKS)
}

/// The resident memory, in bytes.
pub(super) fn resident_memory_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix(" kB")?
        .parse::<f64>()
        .ok()
        .map(|kib| kib * 1024.0)
}

/// The number of open file descriptors.
pub(super) fn open_fds() -> Option<f64> {
    // One of them belongs to this reading of the directory.
    let count = fs::read_dir("/proc/self/fd")
        .ok()?
        .count()
        .saturating_sub(1);
    u32::try_from(count).ok().map(f64::from)
}

/// The limit of open file descriptors.
pub(super) fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
