//! JSON objects that can be read in one way only.
//!
//! JSON lets a name stand twice in an object, and readers differ in which of the two counts (RFC 8259 4). RFC 7519 4 and
//! RFC 7515 4 let a reader refuse such a JWT; real providers write one name twice with the same value. So equal
//! duplicates count once, at any depth, and unequal ones void the document. Pure.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads a JSON object.
///
/// # Errors
/// [`serde_json::Error`] if the bytes are no JSON object, or one name in it has two different values.
pub(crate) fn object(bytes: &[u8]) -> serde_json::Result<Map<String, Value>> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader)?;
    reader.end()?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(serde_json::Error::custom("it is no object")),
    }
}

/// Reads any value; the library bounds its depth.
#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self)?;
            if object.get(&name).is_some_and(|first| *first != value) {
                return Err(A::Error::custom("a name has two different values"));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line a case: the document, and what is read of it. Found by writing duplicates of every JSON type, at the
    /// first level and below, in objects and in lists.
    #[test]
    fn equal_duplicates_count_once_and_unequal_ones_void_the_document() {
        for (document, read) in [
            (r#"{"iss":"a","iss":"a"}"#, Some(r#"{"iss":"a"}"#)),
            (r#"{"iss":"a","iss":"b"}"#, None),
            (r#"{"iss":"a","iss":"\u0061"}"#, Some(r#"{"iss":"a"}"#)),
            (r#"{"iss":"a","\u0069ss":"b"}"#, None),
            (r#"{"exp":1,"exp":1}"#, Some(r#"{"exp":1}"#)),
            (r#"{"exp":1,"exp":1.0}"#, None),
            (r#"{"exp":1,"exp":"1"}"#, None),
            (r#"{"sub":null,"sub":"root"}"#, None),
            (r#"{"sub":"root","sub":null}"#, None),
            (r#"{"aud":["a","b"],"aud":["a","b"]}"#, Some(r#"{"aud":["a","b"]}"#)),
            (r#"{"aud":["a","b"],"aud":["b","a"]}"#, None),
            (r#"{"a":{"b":1,"c":2},"a":{"c":2,"b":1}}"#, Some(r#"{"a":{"b":1,"c":2}}"#)),
            (r#"{"a":{"roles":["x"],"roles":["y"]}}"#, None),
            (r#"{"a":[{"b":1,"b":2}]}"#, None),
            (r#"{"a":1,"a":1,"a":1}"#, Some(r#"{"a":1}"#)),
            (r#"{"a":1,"a":1,"a":2}"#, None),
            (r#"{"a":true} {}"#, None),
            ("[]", None),
            ("\"text\"", None),
            ("", None),
        ] {
            let said = object(document.as_bytes()).ok().map(|object| Value::Object(object).to_string());
            assert_eq!(said.as_deref(), read, "{document}");
        }
        let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        assert!(object(deep.as_bytes()).is_err(), "depth is bounded");
    }
}
