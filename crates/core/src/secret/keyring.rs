//! The server's keys, and the boxes sealed with them.
//!
//! A [`Keyring`] holds the configured keys, newest first. Each purpose gets its own keys by HKDF
//! (RFC 5869), so that a box of one kind never opens as another. New boxes are sealed under the sealing key;
//! every key of the ring may open, which is how keys are rotated without signing anybody out.
//! Used by `session` (records), `login` (pending logins) and `web` (CSRF tokens).
//!
//! The sealing key is the newest, but for a while after the keys were replaced, which may be done while everybody works
//! ([`Keyring::replace`]): a key that has just been put in front opens at once but does not seal yet, so that replicas that learn of it a little later can read everything meanwhile;
//! [`Keyring::seal_under_the_newest`] ends that.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::Secret;
use super::random_bytes;

/// Bytes of a server key.
pub const KEY_BYTES: usize = 32;

/// First byte of every box, so that the format can change.
const FORMAT: u8 = 1;

/// The configured server keys, newest first. Cheap to clone; all clones are one ring.
#[derive(Debug, Clone)]
pub struct Keyring(Arc<ArcSwap<Keys>>);

#[derive(Debug)]
struct Keys {
    newest_first: Vec<Secret<[u8; KEY_BYTES]>>,
    /// Index of the key that seals.
    sealing: usize,
    /// Tells the derived keys apart that were made before a change.
    version: u64,
}

/// A failure to open a box: it was damaged, is of another purpose or subject, or its key has been retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("sealed under none of the server's keys, or damaged")]
pub struct Unopenable;

/// A text that is no server key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be base64 of exactly 32 random bytes")]
pub struct InvalidKey;

/// Keys are written by hand, copied and pasted: padding may be lost on the way.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads a server key.
///
/// # Errors
/// [`InvalidKey`], also for one repeated byte: that is a placeholder, not a secret (R-P07).
pub fn key_from_base64(text: &str) -> Result<Secret<[u8; KEY_BYTES]>, InvalidKey> {
    let bytes: [u8; KEY_BYTES] =
        LENIENT.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(InvalidKey)?;
    bytes.iter().any(|byte| *byte != bytes[0]).then(|| Secret::new(bytes)).ok_or(InvalidKey)
}

impl Keyring {
    /// Makes a ring of these keys, newest first; `None` without any.
    pub fn new(newest_first: Vec<Secret<[u8; KEY_BYTES]>>) -> Option<Self> {
        let keys = Keys { newest_first, sealing: 0, version: 0 };
        (!keys.newest_first.is_empty()).then(|| Self(Arc::new(ArcSwap::from_pointee(keys))))
    }

    /// Makes a ring of one key, written in base64.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        let newest_first = vec![key_from_base64(text)?];
        Ok(Self(Arc::new(ArcSwap::from_pointee(Keys { newest_first, sealing: 0, version: 0 }))))
    }

    /// Makes a ring of one fresh random key, for tests: what it seals is lost with the process.
    pub fn ephemeral() -> Self {
        let newest_first = vec![Secret::new(random_bytes())];
        Self(Arc::new(ArcSwap::from_pointee(Keys { newest_first, sealing: 0, version: 0 })))
    }

    /// Takes over another ring's keys. The key that sealed so far goes on sealing, if it is among them. Returns the
    /// version of the ring that came of it.
    pub fn replace(&self, other: &Self) -> u64 {
        let new = other.0.load();
        let old = self.0.rcu(|old| {
            let sealing_key = &old.newest_first[old.sealing];
            let sealing = new.newest_first.iter().position(|key| key == sealing_key).unwrap_or_default();
            Keys { newest_first: new.newest_first.clone(), sealing, version: old.version + 1 }
        });
        old.version + 1
    }

    /// Lets the newest key seal from now on, unless the ring has been replaced since it had this version: then its
    /// newest key may be too new.
    pub fn seal_under_the_newest(&self, version: u64) {
        self.0.rcu(|old| {
            let is_that = old.version == version;
            let newest_first = old.newest_first.clone();
            Keys {
                newest_first,
                sealing: if is_that { 0 } else { old.sealing },
                version: old.version + u64::from(is_that),
            }
        });
    }

    /// Returns the sealer for one purpose; `salt` narrows it further (to one session key, say).
    pub fn sealer(&self, purpose: &'static str, salt: &[u8]) -> Sealer {
        let salt = Zeroizing::new(salt.to_vec());
        let derived = ArcSwap::from_pointee(Derived::of(&self.0.load(), |key| aead_key(&derive(key, purpose, &salt))));
        Sealer { keyring: self.clone(), purpose, salt, derived }
    }

    /// Returns the tagger for one purpose.
    pub fn tagger(&self, purpose: &'static str) -> Tagger {
        let derived = ArcSwap::from_pointee(Derived::of(&self.0.load(), |key| hmac_key(key, purpose)));
        Tagger { keyring: self.clone(), purpose, derived }
    }
}

/// The keys of one purpose, made from one state of the ring.
#[derive(Debug)]
struct Derived<K> {
    keys: Vec<K>,
    sealing: usize,
    version: u64,
}

impl<K> Derived<K> {
    fn of(keys: &Keys, make: impl Fn(&Secret<[u8; KEY_BYTES]>) -> K) -> Self {
        Self { keys: keys.newest_first.iter().map(make).collect(), sealing: keys.sealing, version: keys.version }
    }
}

/// Derives a key from a server key by HKDF-SHA256.
fn derive(key: &Secret<[u8; KEY_BYTES]>, purpose: &'static str, salt: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut derived = Zeroizing::new([0; KEY_BYTES]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(key.expose())
        .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(derived.as_mut_slice()))
        .unwrap_or_else(|_| unreachable!("HKDF-SHA256 gives 32 bytes for any input"));
    derived
}

fn aead_key(derived: &[u8; KEY_BYTES]) -> RandomizedNonceKey {
    RandomizedNonceKey::new(&AES_256_GCM, derived)
        .unwrap_or_else(|_| unreachable!("AES-256-GCM takes 32 bytes, which the type says"))
}

fn hmac_key(key: &Secret<[u8; KEY_BYTES]>, purpose: &'static str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, derive(key, purpose, &[]).as_slice())
}

/// Seals and opens boxes of one purpose with AES-256-GCM under random nonces.
#[derive(Debug)]
pub struct Sealer {
    keyring: Keyring,
    purpose: &'static str,
    salt: Zeroizing<Vec<u8>>,
    derived: ArcSwap<Derived<RandomizedNonceKey>>,
}

impl Sealer {
    fn derived(&self) -> Arc<Derived<RandomizedNonceKey>> {
        let keys = self.keyring.0.load();
        if self.derived.load().version != keys.version {
            let derived = Derived::of(&keys, |key| aead_key(&derive(key, self.purpose, &self.salt)));
            self.derived.store(Arc::new(derived));
        }
        self.derived.load_full()
    }

    /// Encrypts under the sealing key. `subject` is not kept in the box, but the box opens only with it.
    pub fn seal(&self, subject: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let derived = self.derived();
        let mut body = plaintext.to_vec();
        let nonce = derived.keys[derived.sealing]
            .seal_in_place_append_tag(Aad::from(subject), &mut body)
            .unwrap_or_else(|_| unreachable!("AES-GCM fails only beyond 64 GiB"));
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut body);
        sealed
    }

    /// Is true if a box was sealed under the sealing key, so that it need not be sealed again.
    pub fn is_under_sealing_key(&self, subject: &[u8], sealed: &[u8]) -> bool {
        let derived = self.derived();
        let Some((nonce, body)) = sealed.get(1..).and_then(|rest| rest.split_first_chunk::<NONCE_LEN>()) else {
            return false;
        };
        open_with(&derived.keys[derived.sealing], subject, *nonce, body).is_some()
    }

    /// Decrypts under whichever key of the ring fits.
    ///
    /// # Errors
    /// [`Unopenable`] if none does.
    pub fn open(&self, subject: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopenable> {
        let (&FORMAT, rest) = sealed.split_first().ok_or(Unopenable)? else { return Err(Unopenable) };
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Unopenable)?;
        self.derived().keys.iter().find_map(|key| open_with(key, subject, *nonce, body)).ok_or(Unopenable)
    }

    /// Encrypts a value as JSON, like [`Self::seal`].
    ///
    /// # Panics
    /// If it is none that JSON can hold: no value of this workspace has keys that are no texts.
    pub fn seal_json<T: Serialize>(&self, subject: &[u8], value: &T) -> Vec<u8> {
        let text = serde_json::to_vec(value).unwrap_or_else(|_| unreachable!("structs of plain values are JSON"));
        self.seal(subject, &Zeroizing::new(text))
    }

    /// Decrypts what [`Self::seal_json`] encrypted.
    ///
    /// # Errors
    /// [`Unopenable`] if no key fits, or if the value is of another shape.
    pub fn open_json<T: DeserializeOwned>(&self, subject: &[u8], sealed: &[u8]) -> Result<T, Unopenable> {
        serde_json::from_slice(&self.open(subject, sealed)?).map_err(|_| Unopenable)
    }
}

fn open_with(
    key: &RandomizedNonceKey,
    subject: &[u8],
    nonce: [u8; NONCE_LEN],
    body: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(body.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = key.open_in_place(nonce, Aad::from(subject), &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}

/// Makes and checks HMAC-SHA256 tags of one purpose.
#[derive(Debug)]
pub struct Tagger {
    keyring: Keyring,
    purpose: &'static str,
    derived: ArcSwap<Derived<hmac::Key>>,
}

impl Tagger {
    fn derived(&self) -> Arc<Derived<hmac::Key>> {
        let keys = self.keyring.0.load();
        if self.derived.load().version != keys.version {
            self.derived.store(Arc::new(Derived::of(&keys, |key| hmac_key(key, self.purpose))));
        }
        self.derived.load_full()
    }

    /// Returns the tag of a message under the sealing key.
    pub fn tag(&self, message: &[u8]) -> Vec<u8> {
        let derived = self.derived();
        hmac::sign(&derived.keys[derived.sealing], message).as_ref().to_vec()
    }

    /// Is true if `beginning` begins the message's tag under any key of the ring; compared in constant time. The caller
    /// fixes its length: the shorter it is, the likelier a guess.
    pub fn verify_beginning(&self, message: &[u8], beginning: &[u8]) -> bool {
        self.derived().keys.iter().any(|key| {
            let tag = hmac::sign(key, message);
            tag.as_ref().get(..beginning.len()).is_some_and(|tag| bool::from(tag.ct_eq(beginning)))
        })
    }

    /// Is true if `tag` is the message's tag under any key of the ring; in constant time.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        self.derived().keys.iter().any(|key| hmac::verify(key, message, tag).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: &[u8]) -> Keyring {
        Keyring::new(keys.iter().map(|byte| Secret::new([*byte; KEY_BYTES])).collect()).unwrap()
    }

    #[test]
    fn a_box_opens_for_its_purpose_and_subject_only() {
        let sealed = ring(&[1]).sealer("a", b"").seal(b"subject", b"text");
        assert_eq!(ring(&[1]).sealer("a", b"").open(b"subject", &sealed).unwrap().as_slice(), b"text");
        assert!(ring(&[1]).sealer("a", b"").open(b"other", &sealed).is_err());
        assert!(ring(&[1]).sealer("b", b"").open(b"subject", &sealed).is_err());
        assert!(ring(&[1]).sealer("a", b"salt").open(b"subject", &sealed).is_err());
        assert!(ring(&[2]).sealer("a", b"").open(b"subject", &sealed).is_err());
    }

    #[test]
    fn a_rotated_ring_opens_old_boxes_and_seals_under_the_new_key() {
        let old = ring(&[1]).sealer("a", b"").seal(b"", b"old");
        let rotated = ring(&[2, 1]).sealer("a", b"");
        assert_eq!(rotated.open(b"", &old).unwrap().as_slice(), b"old");
        assert!(ring(&[1]).sealer("a", b"").open(b"", &rotated.seal(b"", b"new")).is_err());
    }

    #[test]
    fn damaged_boxes_do_not_open() {
        let sealer = ring(&[1]).sealer("a", b"");
        let whole = sealer.seal(b"", b"text");
        for length in 0..whole.len() {
            assert!(sealer.open(b"", &whole[..length]).is_err());
        }
        for index in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[index] ^= 1;
            assert!(sealer.open(b"", &damaged).is_err());
        }
    }

    #[test]
    fn tags_of_every_key_of_the_ring_are_known() {
        let tag = ring(&[1]).tagger("a").tag(b"message");
        assert!(ring(&[2, 1]).tagger("a").verify(b"message", &tag));
        assert!(!ring(&[2]).tagger("a").verify(b"message", &tag));
        assert!(!ring(&[1]).tagger("a").verify(b"massage", &tag));
    }

    /// A key put in front opens at once and seals later; nothing that was sealed before is lost.
    #[test]
    fn keys_can_be_replaced_while_sealers_are_in_use() {
        let ours = ring(&[1]);
        let (sealer, tagger) = (ours.sealer("a", b""), ours.tagger("t"));
        let (before, tag) = (sealer.seal(b"s", b"text"), tagger.tag(b"m"));
        let version = ours.replace(&ring(&[2, 1]));
        let meanwhile = sealer.seal(b"s", b"text");
        let opens = |keys: &[u8], sealed: &[u8]| ring(keys).sealer("a", b"").open(b"s", sealed).is_ok();
        assert!(opens(&[1], &meanwhile), "replicas that do not know the new key yet can read it");
        assert!(sealer.open(b"s", &ring(&[2]).sealer("a", b"").seal(b"s", b"text")).is_ok());
        ours.seal_under_the_newest(version - 1);
        assert!(!sealer.is_under_sealing_key(b"s", &ring(&[2]).sealer("a", b"").seal(b"s", b"text")));
        ours.seal_under_the_newest(version);
        assert!(!sealer.is_under_sealing_key(b"s", &meanwhile));
        let after = sealer.seal(b"s", b"text");
        assert!(opens(&[2], &after) && !opens(&[1], &after));
        assert!(sealer.open(b"s", &before).is_ok() && tagger.verify(b"m", &tag));
        ours.replace(&ring(&[3]));
        assert!(opens(&[3], &sealer.seal(b"s", b"text")), "a sealing key that is gone seals no longer");
        assert!(sealer.open(b"s", &before).is_err() && !tagger.verify(b"m", &tag));
    }
}
