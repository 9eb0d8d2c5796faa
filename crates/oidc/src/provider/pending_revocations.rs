//! The revocations that are under way, so that the end of the process can wait for them.

use tokio::sync::watch;

/// Tokens that are to be given back, and how many are under way.
#[derive(Debug)]
pub(crate) struct PendingRevocations {
    /// Number of sessions whose tokens are not given back yet.
    pub(crate) open: watch::Sender<usize>,
    /// True if nobody waits any longer.
    pub(crate) in_a_hurry: watch::Sender<bool>,
}

impl Default for PendingRevocations {
    fn default() -> Self {
        Self { open: watch::Sender::new(0), in_a_hurry: watch::Sender::new(false) }
    }
}
