//! Attributes in claims or a profile: found by dotted paths (`employee.departments`), and bounded. Pure.

use serde_json::{Map, Value};

/// Longest attribute kept, in bytes.
pub(crate) const LONGEST_ATTRIBUTE: usize = 512;
/// Returns the value at a dotted path; names that hold dots (`https://example.com/roles`, a client's) come first.
/// `null` is nothing (Core 5.3.2).
pub(crate) fn at<'a>(source: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = source.get(path).filter(|value| !value.is_null()) {
        return Some(value);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| at(source.get(&path[..dot])?.as_object()?, &path[dot + 1..]))
}

/// Removes what [`at`] finds.
pub(crate) fn remove_at(source: &mut Map<String, Value>, path: &str) {
    if source.remove(path).is_some() {
        return;
    }
    let mut steps = path.rmatch_indices('.').map(|(dot, _)| (&path[..dot], &path[dot + 1..]));
    let step = steps
        .find(|(member, rest)| source.get(*member).and_then(Value::as_object).is_some_and(|it| at(it, rest).is_some()));
    if let Some((member, rest)) = step
        && let Some(members) = source.get_mut(member).and_then(Value::as_object_mut)
    {
        remove_at(members, rest);
    }
}

/// Returns the text at a dotted path, if it can be an attribute.
pub(crate) fn text_at(source: &Map<String, Value>, path: &str) -> Option<String> {
    at(source, path).and_then(Value::as_str).filter(|text| is_attribute(text)).map(str::to_owned)
}

/// Is true of a text that can be an attribute: neither empty nor endless, on one line.
pub(crate) fn is_attribute(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_ATTRIBUTE && !text.chars().any(char::is_control)
}
