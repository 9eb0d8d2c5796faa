//! The note that a session is in use.
//!
//! Noting each request would cost a write each time, so uses are noted once in a tenth of the idle timeout. A session may
//! therefore end up to that much earlier than its last use would say; never later. A note lies beside the record, changes
//! only what exists, and never touches the record: it cannot bring a session back. Once in half of the longest idle timeout
//! a use extends the record as well, which every replica hears of.

use std::sync::atomic::Ordering;

use counterfoil_core::unix_millis::UnixMillis;
use time::{Duration, OffsetDateTime};

use super::inner::Inner;
use super::live::LiveSession;
use super::reader::SessionReader;
use super::store::StoreError;
use super::store::note::Note;
use super::timeout::SessionTimes;

/// Is true if the last note is old enough for another.
pub(crate) fn is_due(last_seen_at: OffsetDateTime, idle_timeout: Duration, now: OffsetDateTime) -> bool {
    now - last_seen_at >= idle_timeout / 10
}

impl SessionReader {
    /// Notes that a session is in use, if it is time to: in the background, since no request should wait for it
    /// or fail with it, and once for all requests of the moment.
    pub fn touch(&self, session: &LiveSession) {
        let now = session.checked_at;
        let before = session.known.last_seen.load(Ordering::Relaxed);
        let noted_before = session.last_seen_at();
        if !is_due(noted_before, session.idle_timeout, now) {
            return;
        }
        let seen = session.known.last_seen.compare_exchange(
            before,
            UnixMillis::from(now).0,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if seen.is_err() {
            return;
        }
        let (inner, session) = (self.0.clone(), session.clone());
        tokio::spawn(async move {
            if let Err(error) = inner.note_use(&session, noted_before, now).await {
                // Only what the store knows counts.
                session.known.last_seen.store(before, Ordering::Relaxed);
                tracing::warn!(session = %session.handle(), %error, "the use of a session could not be noted");
            }
        });
    }
}

impl Inner {
    async fn note_use(
        &self,
        session: &LiveSession,
        noted_before: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let (record, retention) = (session.record(), self.policies.current_retention().await?);
        let (created_at, ends_by) = (record.created_at, record.ends_by);
        let extended = retention
            .is_extension_due(created_at, noted_before, now)
            .then(|| retention.record_until(created_at, ends_by, now));
        let limits = self.policies.timeouts().limits_for(&record.identity.groups);
        let note = Note::new(SessionTimes { created_at, last_seen_at: now, ends_by }, limits);
        self.sealed.save_note(session.handle(), &note, retention.note_until(created_at), extended).await
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_use_is_noted_once_in_a_tenth_of_the_idle_timeout() {
        let seen = datetime!(2026-01-31 09:00 UTC);
        assert!(!is_due(seen, Duration::minutes(30), seen + Duration::seconds(179)));
        assert!(is_due(seen, Duration::minutes(30), seen + Duration::seconds(180)));
        assert!(!is_due(seen, Duration::seconds(10), seen + Duration::milliseconds(999)));
        assert!(is_due(seen, Duration::seconds(10), seen + Duration::seconds(1)));
    }
}
