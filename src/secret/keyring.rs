//! The server's keys, and the boxes sealed with them.
//!
//! A [`Keyring`] holds the configured keys, newest first. Each purpose gets its own keys by HKDF
//! (RFC 5869), so that a box of one kind never opens as another. New boxes are sealed under the newest key;
//! every key of the ring may open, which is how keys are rotated without signing anybody out.
//! Used by `session` (records), `login` (pending logins) and `web` (CSRF tokens).

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac};
use thiserror::Error;
use zeroize::Zeroizing;

use super::Secret;
#[cfg(test)]
use super::random_bytes;

/// Bytes of a server key.
pub const KEY_BYTES: usize = 32;

/// First byte of every box, so that the format can change.
const FORMAT: u8 = 1;

/// The configured server keys, newest first. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keyring(Arc<[Secret<[u8; KEY_BYTES]>]>);

/// Why a box did not open: it was damaged, is of another purpose or subject, or its key has been retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("sealed under none of the server's keys, or damaged")]
pub struct Unopenable;

impl Keyring {
    /// A ring of these keys, newest first; `None` without any.
    pub fn new(keys: Vec<Secret<[u8; KEY_BYTES]>>) -> Option<Self> {
        (!keys.is_empty()).then(|| Self(keys.into()))
    }

    /// A ring of one fresh random key.
    #[cfg(test)]
    pub(crate) fn ephemeral() -> Self {
        Self(Arc::new([Secret::new(random_bytes())]))
    }

    /// The sealer for one purpose; `salt` narrows it further (to one session key, say).
    pub fn sealer(&self, purpose: &'static str, salt: &[u8]) -> Sealer {
        Sealer { keys: self.0.iter().map(|key| aead_key(&derive(key, purpose, salt))).collect() }
    }

    /// The tagger for one purpose.
    pub fn tagger(&self, purpose: &'static str) -> Tagger {
        let keys = self.0.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, derive(key, purpose, &[]).as_slice()));
        Tagger { keys: keys.collect() }
    }
}

/// HKDF-SHA256 of a server key.
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

/// Seals and opens boxes of one purpose with AES-256-GCM under random nonces.
#[derive(Debug)]
pub struct Sealer {
    keys: Vec<RandomizedNonceKey>,
}

impl Sealer {
    /// Encrypts under the newest key. `subject` is not kept in the box, but the box opens only with it.
    pub fn seal(&self, subject: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut body = plaintext.to_vec();
        let nonce = self.keys[0]
            .seal_in_place_append_tag(Aad::from(subject), &mut body)
            .unwrap_or_else(|_| unreachable!("AES-GCM fails only beyond 64 GiB"));
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut body);
        sealed
    }

    /// Decrypts under whichever key of the ring fits.
    ///
    /// # Errors
    /// [`Unopenable`] if none does.
    pub fn open(&self, subject: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopenable> {
        let (&FORMAT, rest) = sealed.split_first().ok_or(Unopenable)? else { return Err(Unopenable) };
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Unopenable)?;
        self.keys.iter().find_map(|key| open_with(key, subject, *nonce, body)).ok_or(Unopenable)
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
    keys: Vec<hmac::Key>,
}

impl Tagger {
    /// The tag of a message under the newest key.
    pub fn tag(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.keys[0], message).as_ref().to_vec()
    }

    /// Whether `tag` is the message's tag under any key of the ring; in constant time.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        self.keys.iter().any(|key| hmac::verify(key, message, tag).is_ok())
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
}
