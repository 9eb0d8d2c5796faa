//! The CPU time of a process or a thread.

use std::io;
use std::time::Duration;

/// A hundredth of a second on every Linux that runs this (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process so far.
///
/// # Errors
/// If there is no such process.
pub(crate) fn cpu_of_process(process: u32) -> io::Result<Duration> {
    cpu(&format!("/proc/{process}/stat"))
}

/// User and system time so far, by a `stat` file of `/proc`.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn cpu(stat: &str) -> io::Result<Duration> {
    let text = std::fs::read_to_string(stat)?;
    let fields: Vec<_> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<u32>().ok());
    let both = ticks(11).zip(ticks(12)).ok_or_else(|| io::Error::other("a stat file without times"))?;
    Ok(TICK * (both.0 + both.1))
}
