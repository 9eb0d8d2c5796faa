//! `[proxy]`: the header fields that do not cross, beside those of the built-in table.

use super::reader::Reader;
use crate::proxy::names::{FieldNames, StrippedNames};

pub(super) fn read(section: &mut Reader) -> StrippedNames {
    let mut names = |key: &str| {
        let listed = section.optional::<Vec<String>>(key).unwrap_or_default();
        FieldNames::parse(&listed).map_err(|error| section.fault(key, error.to_string())).unwrap_or_default()
    };
    StrippedNames::new(names("strip_request_headers"), names("strip_response_headers"))
}
