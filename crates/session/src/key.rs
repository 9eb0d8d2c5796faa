//! The two halves of the ticket: the secret key in the cookie, and its public handle.
//!
//! The cookie's value is the key followed by a tag: a MAC under the server's keys. A value that was invented is refused by
//! its tag, before any cache or store is asked for it: a store that remembers what was read, to tell of its end, would
//! otherwise remember whatever anybody invents.
//!
//! The store, lists and logs name a session by its handle, so nothing that can be read there can be
//! used as a cookie. `tower-sessions-redis-store` names a record by its [`Id`] alone, so the handle *is* an
//! `Id`: 128 bits, of which the first 18 are fixed so that its text begins with `cf-` and one pattern
//! (`cf-*`) covers every record; 110 bits of the key's hash remain.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use tower_sessions::session::Id;
use zeroize::Zeroizing;

use counterfoil_core::secret::keyring::{Keyring, Tagger};
use counterfoil_core::secret::{Secret, random_bytes};

/// Random bytes of a session key.
const KEY_BYTES: usize = 32;
/// Bytes of the tag behind it.
const TAG_BYTES: usize = 16;
/// Characters of both in the cookie.
const VALUE_CHARACTERS: usize = 64;
/// The purpose of the keys that make tags.
const TAG_PURPOSE: &str = "counterfoil session cookie tag v1";
/// Separates this hash from every other use of SHA-256 on the key.
const HANDLE_CONTEXT: &[u8] = b"counterfoil session handle v1";

/// The browser's half: 256 random bits, and the tag that shows who made them. Whoever holds it is signed in.
#[derive(Debug, Clone)]
pub struct SessionKey {
    bytes: Secret<[u8; KEY_BYTES]>,
    tag: [u8; TAG_BYTES],
}

/// The maker and judge of tags.
#[derive(Debug)]
pub(crate) struct CookieTags(Tagger);

impl CookieTags {
    pub(crate) fn new(keyring: &Keyring) -> Self {
        Self(keyring.tagger(TAG_PURPOSE))
    }

    /// Returns the same key with a tag under the server's sealing key.
    pub(crate) fn tagged(&self, key: &SessionKey) -> SessionKey {
        SessionKey { bytes: key.bytes.clone(), tag: self.tag_of(key) }
    }

    /// Returns a key's tag under the server's sealing key.
    pub(crate) fn tag_of(&self, key: &SessionKey) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&self.0.tag(key.expose_bytes())[..TAG_BYTES]);
        tag
    }

    /// Is true if one of the server's keys made a key's tag.
    pub(crate) fn are_ours(&self, key: &SessionKey) -> bool {
        self.0.verify_beginning(key.expose_bytes(), &key.tag)
    }
}

impl SessionKey {
    /// A fresh key, without a tag: [`Sessions::establish`](crate::Sessions::establish) makes those that count.
    pub fn generate() -> Self {
        Self { bytes: Secret::new(random_bytes()), tag: [0; TAG_BYTES] }
    }

    /// Reads a cookie's value. `None` for anything a server of this kind never issued by form: length and
    /// alphabet are checked here; its tag is checked by [`SessionReader`](crate::SessionReader), before any store hears of it.
    pub fn parse(cookie_value: &[u8]) -> Option<Self> {
        if cookie_value.len() != VALUE_CHARACTERS {
            return None;
        }
        let mut read = Zeroizing::new([0; KEY_BYTES + TAG_BYTES]);
        URL_SAFE_NO_PAD.decode_slice(cookie_value, &mut *read).ok()?;
        let (key, tag) = read.split_at(KEY_BYTES);
        Some(Self { bytes: Secret::new(key.try_into().ok()?), tag: tag.try_into().ok()? })
    }

    /// The cookie's value.
    pub fn expose_cookie_value(&self) -> String {
        let mut value = Zeroizing::new([0; KEY_BYTES + TAG_BYTES]);
        value[..KEY_BYTES].copy_from_slice(self.expose_bytes());
        value[KEY_BYTES..].copy_from_slice(&self.tag);
        URL_SAFE_NO_PAD.encode(*value)
    }

    /// The tag behind the key.
    pub(crate) fn tag(&self) -> [u8; TAG_BYTES] {
        self.tag
    }

    /// The key's bytes, to derive the key of the session's tokens from.
    pub(super) fn expose_bytes(&self) -> &[u8; KEY_BYTES] {
        self.bytes.expose()
    }

    /// The house's half.
    pub fn handle(&self) -> SessionHandle {
        // The input is hashed in one piece: a running hash would allocate.
        let mut named = Zeroizing::new([0; HANDLE_CONTEXT.len() + KEY_BYTES]);
        named[..HANDLE_CONTEXT.len()].copy_from_slice(HANDLE_CONTEXT);
        named[HANDLE_CONTEXT.len()..].copy_from_slice(self.bytes.expose());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest::digest(&digest::SHA256, &*named).as_ref()[..16]);
        SessionHandle::with_prefix(bytes)
    }
}

/// The house's half: a session's public name, derived one-way from its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionHandle(i128);

/// A text that names no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a session handle: `cf-` and 19 base64url characters")]
pub struct InvalidHandle;

impl SessionHandle {
    /// Characters of a handle's text.
    pub(crate) const CHARACTERS: usize = 22;
    /// Sorts below every session's handle by its text; no session has it.
    pub(crate) const LOWEST: Self = Self(0);

    fn with_prefix(mut bytes: [u8; 16]) -> Self {
        // base64url `cf-` is 011100 011111 111110: 0x71, 0xff, then the top bits 10.
        bytes[0] = 0x71;
        bytes[1] = 0xff;
        bytes[2] = 0b1000_0000 | (bytes[2] & 0b0011_1111);
        Self(i128::from_le_bytes(bytes))
    }

    /// One of so many buckets, evenly.
    pub fn bucket(self, buckets: usize) -> usize {
        // This byte is hash and nothing else, and none of the bits that tables of handles go by.
        usize::from(self.0.to_le_bytes()[4]) % buckets
    }

    /// The name under which `tower-sessions` knows the record.
    pub fn id(self) -> Id {
        Id(self.0)
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for SessionHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id().fmt(formatter)
    }
}

impl Serialize for SessionHandle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionHandle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl FromStr for SessionHandle {
    type Err = InvalidHandle;

    fn from_str(text: &str) -> Result<Self, InvalidHandle> {
        let id = Id::from_str(text).map_err(|_| InvalidHandle)?;
        let handle = Self(id.0);
        // Only the canonical spelling names a session.
        if handle.to_string() == text && text.starts_with("cf-") { Ok(handle) } else { Err(InvalidHandle) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_handle_begins_with_cf_and_is_read_back() {
        let handle = SessionKey::generate().handle();
        let text = handle.to_string();
        assert!(text.starts_with("cf-") && text.len() == 22, "{text}");
        assert_eq!(text.parse(), Ok(handle));
    }

    /// R-G01, R-G02: keys are distinct, long and without structure.
    #[test]
    fn ten_thousand_keys_are_distinct_and_evenly_spread() {
        let keys: Vec<_> = (0..10_000).map(|_| SessionKey::generate()).collect();
        let distinct: HashSet<_> = keys.iter().map(SessionKey::expose_cookie_value).collect();
        assert_eq!(distinct.len(), keys.len());
        assert!(distinct.iter().all(|value| value.len() == VALUE_CHARACTERS));

        let mut counts = [0_u32; 256];
        keys.iter().flat_map(|key| *key.expose_bytes()).for_each(|byte| counts[usize::from(byte)] += 1);
        let expected = 10_000.0 * 32.0 / 256.0;
        let chi_square: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        // 255 degrees of freedom: beyond 400 once in a hundred million runs.
        assert!(chi_square < 400.0, "chi-square {chi_square}");
    }

    /// R-G03, R-G04: junk is refused by form.
    #[test]
    fn only_well_formed_cookie_values_become_keys() {
        let value = SessionKey::generate().expose_cookie_value();
        assert_eq!(SessionKey::parse(value.as_bytes()).unwrap().expose_cookie_value(), value);
        for junk in [
            "",
            "x",
            &value[1..],
            &format!("{value}A"),
            &value.replace(&value[..1], "!"),
            &"=".repeat(64),
            &"A".repeat(43),
        ] {
            assert!(SessionKey::parse(junk.as_bytes()).is_none(), "{junk}");
        }
    }

    /// R-G03: a key counts with a tag of ours alone, by any key of the ring.
    #[test]
    fn a_forged_key_is_recognised_by_its_tag() {
        let ring = |keys: &[u8]| Keyring::new(keys.iter().map(|byte| Secret::new([*byte; 32])).collect()).unwrap();
        let tags = CookieTags::new(&ring(&[1]));
        let ours = tags.tagged(&SessionKey::generate());
        assert!(tags.are_ours(&SessionKey::parse(ours.expose_cookie_value().as_bytes()).unwrap()));
        assert!(CookieTags::new(&ring(&[2, 1])).are_ours(&ours));
        assert!(!CookieTags::new(&ring(&[2])).are_ours(&ours));
        for bit in 0..TAG_BYTES * 8 {
            let mut changed = ours.clone();
            changed.tag[bit / 8] ^= 1 << (bit % 8);
            assert!(!tags.are_ours(&changed), "bit {bit}");
        }
        let of_another = SessionKey { tag: ours.tag, ..SessionKey::generate() };
        assert!(!tags.are_ours(&of_another) && !tags.are_ours(&SessionKey::generate()));
    }

    /// R-N02: what lists show cannot be used as a cookie.
    #[test]
    fn a_handle_is_not_a_key() {
        assert!(SessionKey::parse(SessionKey::generate().handle().to_string().as_bytes()).is_none());
    }

    #[test]
    fn only_canonical_handles_are_read() {
        for text in ["", "cf-", "cf-8QzvTn2LmX0aPq4RsWgAA", "xx-8QzvTn2LmX0aPq4RsWg", "cf-8QzvTn2LmX0aPq4RsW/"] {
            assert_eq!(text.parse::<SessionHandle>(), Err(InvalidHandle), "{text}");
        }
    }
}
