//! `[secrets]`: the server's keys.

use super::reader::Reader;
use crate::secret::keyring::{Keyring, key_from_base64};

pub(super) fn read(reader: &mut Reader) -> Option<Keyring> {
    if !reader.has("secrets") {
        reader.fault(
            "secrets.keys",
            "is missing: make one with `counterfoil keys generate`; beside a store that has sessions already, take the key \
             that they were sealed under, or everybody is signed out",
        );
        return None;
    }
    let mut section = reader.section("secrets");
    let in_both = section.has("keys") && section.has("keys_file");
    if in_both {
        section.fault("keys", "is given twice: here and by `keys_file`");
        section.ignore_the_rest();
        return None;
    }
    let texts = if section.has("keys_file") {
        let lines = section.secret("keys")?;
        lines.expose().split(['\n', ',']).map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    } else {
        section.required::<Vec<String>>("keys")?
    };
    let keys: Option<Vec<_>> = texts.iter().map(|text| key_from_base64(text).ok()).collect();
    let Some(keys) = keys else {
        section.fault("keys", "each must be base64 of exactly 32 bytes: make them with `counterfoil keys generate`");
        return None;
    };
    let keyring = Keyring::new(keys);
    if keyring.is_none() {
        section.fault("keys", "must hold at least one key: make one with `counterfoil keys generate`");
    }
    keyring
}
