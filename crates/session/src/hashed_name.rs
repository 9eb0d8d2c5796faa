//! Names in the store that are keyed hashes of what they name.
//!
//! The key of these hashes, the index key, is drawn once for each store and lies in it, sealed (`key_check`): so names
//! stay what they are when the server's keys change, and whoever can read the store cannot try which names they are of.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil_core::identity::Identity;

use super::record::SessionRecord;
use super::replay::ReplayKey;

/// Bytes of the index key.
pub(super) const KEY_BYTES: usize = 32;
/// Bytes of a name's hash.
const NAME_BYTES: usize = 16;

/// The maker of names: the index key of one store.
#[derive(Debug)]
pub(super) struct Names(hmac::Key);

/// The name of one list of sessions, or of another value about whom it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HashedName(String);

impl Names {
    pub(super) fn of(key: [u8; KEY_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// All sessions of one person at one provider.
    pub(super) fn subject(&self, issuer: &str, subject: &str) -> HashedName {
        self.named("subject", &[issuer, subject])
    }

    /// All sessions that came from one session at the provider.
    pub(super) fn provider_session(&self, issuer: &str, sid: &str) -> HashedName {
        self.named("provider-session", &[issuer, sid])
    }

    /// One person's part in a session at the provider.
    pub(super) fn provider_session_of(&self, issuer: &str, sid: &str, subject: &str) -> HashedName {
        self.named("provider-session-of", &[issuer, sid, subject])
    }

    /// All sessions of whoever has this user name or e-mail address, in any case of letters.
    pub(super) fn word(&self, word: &str) -> HashedName {
        self.named("word", &[&word.to_lowercase()])
    }

    /// A notice that an issuer gave an audience under this name.
    pub(super) fn notice(&self, ReplayKey { way, issuer, audience, id }: &ReplayKey) -> HashedName {
        self.named("notice", &[way, issuer, audience, id])
    }

    /// Every index that a session belongs to.
    pub(super) fn indexes(&self, record: &SessionRecord) -> Vec<HashedName> {
        let Identity { issuer, subject, preferred_username, email, .. } = &record.identity;
        let mut indexes = vec![self.subject(issuer, subject)];
        indexes.extend(record.provider_session.iter().map(|sid| self.provider_session(issuer, sid)));
        let mut words: Vec<_> = [preferred_username, email].into_iter().flatten().map(|word| self.word(word)).collect();
        words.dedup();
        indexes.extend(words);
        indexes
    }

    /// The first byte of a hash.
    pub(super) fn byte(&self, kind: &str, parts: &[&str]) -> u8 {
        let [byte] = self.tag(kind, parts);
        byte
    }

    /// The beginning of a hash.
    pub(super) fn tag<const BYTES: usize>(&self, kind: &str, parts: &[&str]) -> [u8; BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        // The length in front of each part keeps ("a", "bc") apart from ("ab", "c").
        for part in [kind].iter().chain(parts) {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut tag = [0; BYTES];
        tag.copy_from_slice(&context.sign().as_ref()[..BYTES]);
        tag
    }

    /// Returns one byte that tells index keys apart, except once in 256.
    pub(super) fn key_check(&self) -> u8 {
        self.byte("index key", &[])
    }

    fn named(&self, kind: &str, parts: &[&str]) -> HashedName {
        HashedName(format!("{kind}:{}", URL_SAFE_NO_PAD.encode(self.tag::<NAME_BYTES>(kind, parts))))
    }
}

impl HashedName {
    /// The name in the store.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::of([7; KEY_BYTES])
    }

    #[test]
    fn issuer_and_subject_cannot_be_shifted_into_each_other() {
        let names = names();
        assert_ne!(names.subject("a", "bc"), names.subject("ab", "c"));
        assert_ne!(names.subject("a", "b"), names.provider_session("a", "b"));
        assert_ne!(names.subject("a", "b"), Names::of([8; KEY_BYTES]).subject("a", "b"), "another store's");
    }

    /// R-J12: a security event takes no logout token's effect by taking its name, nor does one of another client.
    #[test]
    fn notices_of_other_ways_and_to_others_have_names_of_their_own() {
        let name = |way, audience: &str| {
            let name = ReplayKey { way, issuer: "i".into(), audience: audience.into(), id: "j".into() };
            names().notice(&name)
        };
        assert_ne!(name("back_channel", "a"), name("security_event", "a"));
        assert_ne!(name("back_channel", "a"), name("back_channel", "b"));
        assert_eq!(name("back_channel", "a"), name("back_channel", "a"));
    }

    #[test]
    fn a_user_name_that_is_the_address_has_one_index() {
        let identity = |user_name: &str| Identity {
            idp: "company".into(),
            issuer: "i".into(),
            subject: "s".into(),
            name: None,
            preferred_username: Some(user_name.into()),
            email: Some("Bob@Example.com".into()),
            email_verified: false,
            groups: Vec::new(),
        };
        let indexes = |user_name| {
            names().indexes(&SessionRecord::for_test(identity(user_name), time::OffsetDateTime::UNIX_EPOCH))
        };
        assert_eq!(indexes("bob@example.com"), [names().subject("i", "s"), names().word("BOB@example.com")]);
        assert_eq!(indexes("bob").len(), 3);
    }
}
