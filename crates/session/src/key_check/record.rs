//! The record of a store's owner: what it holds, and judging one that was found.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use counterfoil_core::secret::keyring::{Keyring, Sealer, Tagger};
use zeroize::Zeroizing;

use super::{Foreign, NAME};
use crate::hashed_name::KEY_BYTES;

/// The format of all that is stored. Whoever changes it so that older brokers, or this one, misread the other's raises
/// this number.
pub const STORE_FORMAT: u32 = 4;

/// The purpose of the tag.
const PURPOSE: &str = "counterfoil store keys v1";
/// The purpose of the sealed index key.
const INDEX_KEY_PURPOSE: &str = "counterfoil index key v1";

/// The purposes that the record serves, under one ring of server keys.
pub(super) struct StoreKeys {
    tagger: Tagger,
    sealer: Sealer,
}

impl StoreKeys {
    pub(super) fn new(keyring: &Keyring) -> Self {
        Self { tagger: keyring.tagger(PURPOSE), sealer: keyring.sealer(INDEX_KEY_PURPOSE, &[]) }
    }

    /// The record under the key that seals: the format, a tag, and the index key.
    pub(super) fn record(&self, key: &[u8; KEY_BYTES]) -> Vec<u8> {
        let (tag, index_key) = (self.tagger.tag(NAME.as_bytes()), self.sealer.seal(NAME.as_bytes(), key));
        let [tag, index_key] = [tag, index_key].map(|bytes| STANDARD_NO_PAD.encode(bytes));
        format!("{STORE_FORMAT} {tag} {index_key}").into_bytes()
    }

    /// Checks that a record is ours, by any key of the ring, and returns the index key.
    pub(super) fn judge(&self, record: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>, Foreign> {
        let text = std::str::from_utf8(record).map_err(|_| Foreign::Format)?;
        let (format, rest) = text.split_once(' ').ok_or(Foreign::Format)?;
        if format.parse() != Ok(STORE_FORMAT) {
            return Err(Foreign::Format);
        }
        let decoded = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| Foreign::Key);
        let (tag, index_key) = rest.split_once(' ').ok_or(Foreign::Key)?;
        if !self.tagger.verify(NAME.as_bytes(), &decoded(tag)?) {
            return Err(Foreign::Key);
        }
        let opened = self.sealer.open(NAME.as_bytes(), &decoded(index_key)?).map_err(|_| Foreign::Key)?;
        Ok(Zeroizing::new(opened.as_slice().try_into().map_err(|_| Foreign::Key)?))
    }

    /// Is true if a record of ours was written under the key that seals.
    pub(super) fn is_under_sealing_key(&self, record: &[u8]) -> bool {
        let tag = STANDARD_NO_PAD.encode(self.tagger.tag(NAME.as_bytes()));
        std::str::from_utf8(record).is_ok_and(|text| text.split(' ').nth(1) == Some(tag.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_core::secret::Secret;

    use super::*;

    const INDEX_KEY: [u8; KEY_BYTES] = [9; KEY_BYTES];

    fn keys(keys: &[u8]) -> StoreKeys {
        StoreKeys::new(&Keyring::new(keys.iter().map(|byte| Secret::new([*byte; 32])).collect()).unwrap())
    }

    fn judge(record: &[u8], ring: &[u8]) -> Result<[u8; KEY_BYTES], Foreign> {
        keys(ring).judge(record).map(|key| *key)
    }

    #[test]
    fn a_store_is_ours_by_any_key_of_the_ring_and_this_format_alone() {
        let own = keys(&[1]).record(&INDEX_KEY);
        assert_eq!(judge(&own, &[1]), Ok(INDEX_KEY));
        assert_eq!(judge(&own, &[2, 1]), Ok(INDEX_KEY));
        assert_eq!(judge(&own, &[2]), Err(Foreign::Key));
        assert!(keys(&[1]).is_under_sealing_key(&own) && !keys(&[2, 1]).is_under_sealing_key(&own));
        let text = String::from_utf8(own).unwrap();
        for (changed, foreign) in [
            (text.replacen(&STORE_FORMAT.to_string(), "1", 1), Foreign::Format),
            (text.replacen(&STORE_FORMAT.to_string(), "", 1), Foreign::Format),
            ("nothing of ours".to_owned(), Foreign::Format),
            (text[..text.len() - 1].to_owned(), Foreign::Key),
            (text[..2].to_owned(), Foreign::Key),
            (format!("{text}AAAA"), Foreign::Key),
            (format!("{STORE_FORMAT} ="), Foreign::Key),
            (text.rsplit_once(' ').unwrap().0.to_owned(), Foreign::Key),
        ] {
            assert_eq!(judge(changed.as_bytes(), &[1]), Err(foreign), "{changed}");
        }
        assert_eq!(judge(b"\xff", &[1]), Err(Foreign::Format));
    }
}
