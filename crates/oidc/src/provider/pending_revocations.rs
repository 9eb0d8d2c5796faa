//! The revocations that are under way, so that the end of the process can wait for them.

use tokio::sync::watch;

/// The number of pending revocations, and the request to end their delay.
#[derive(Debug)]
pub(crate) struct PendingRevocations {
    /// Number of sessions whose tokens are not revoked yet.
    pub(crate) pending: watch::Sender<usize>,
    /// True if no revocation is to be delayed any longer: the process ends.
    pub(crate) flush: watch::Sender<bool>,
}

impl Default for PendingRevocations {
    fn default() -> Self {
        Self { pending: watch::Sender::new(0), flush: watch::Sender::new(false) }
    }
}
