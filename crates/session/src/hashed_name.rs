//! Names in the store that are hashes of what they name.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::record::SessionRecord;
use super::replay::ReplayKey;

/// The name of one list of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedName(String);

impl HashedName {
    /// All sessions of one person at one provider.
    pub fn subject(issuer: &str, subject: &str) -> Self {
        Self::named("subject", issuer, subject)
    }

    /// All sessions that came from one session at the provider.
    pub fn provider_session(issuer: &str, sid: &str) -> Self {
        Self::named("provider-session", issuer, sid)
    }

    /// One person's part in a session at the provider.
    pub(super) fn provider_session_of(issuer: &str, sid: &str, subject: &str) -> Self {
        let whose = Self::named("subject", issuer, subject);
        Self::named("provider-session-of", &whose.0, sid)
    }

    /// A notice that an issuer gave an audience under this name.
    pub(super) fn notice(ReplayKey { way, issuer, audience, id }: &ReplayKey) -> Self {
        let between = Self::named(way, issuer, audience);
        Self::named("notice", &between.0, id)
    }

    fn named(kind: &str, issuer: &str, name: &str) -> Self {
        // The names are hashed: they may be of any length and alphabet, and key listings need not show them. The length
        // in front keeps ("a", "bc") apart from ("ab", "c").
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&u64::try_from(issuer.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(issuer.as_bytes());
        context.update(name.as_bytes());
        Self(format!("{kind}:{}", URL_SAFE_NO_PAD.encode(context.finish())))
    }

    /// Every index that a session belongs to.
    pub(super) fn of(record: &SessionRecord) -> impl Iterator<Item = Self> {
        let issuer = &record.identity.issuer;
        let by_provider_session = record.provider_session.iter().map(|sid| Self::provider_session(issuer, sid));
        std::iter::once(Self::subject(issuer, &record.identity.subject)).chain(by_provider_session)
    }

    /// The index's name in the store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuer_and_subject_cannot_be_shifted_into_each_other() {
        assert_ne!(HashedName::subject("a", "bc"), HashedName::subject("ab", "c"));
        assert_ne!(HashedName::subject("a", "b"), HashedName::provider_session("a", "b"));
    }

    /// R-J12: a security event takes no logout token's effect by taking its name, nor does one of another client.
    #[test]
    fn notices_of_other_ways_and_to_others_have_names_of_their_own() {
        let name = |way, audience: &str| {
            let name = ReplayKey { way, issuer: "i".into(), audience: audience.into(), id: "j".into() };
            HashedName::notice(&name)
        };
        assert_ne!(name("back_channel", "a"), name("security_event", "a"));
        assert_ne!(name("back_channel", "a"), name("back_channel", "b"));
        assert_eq!(name("back_channel", "a"), name("back_channel", "a"));
    }
}
