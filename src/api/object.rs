//! JSON objects, and no lists in their place.

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, forward_to_deserialize_any};

/// A struct that is read from a JSON object alone. serde would read it from a list as well, its fields by their order: names
/// that were misspelt or left out would go unnoticed there.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(OnlyMaps(deserializer)).map(Self)
    }
}

/// A deserializer that takes nothing but maps.
struct OnlyMaps<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for OnlyMaps<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[serde(default)]
        all: bool,
    }

    #[test]
    fn a_list_is_no_object() {
        let read = |text: &str| serde_json::from_str::<Object<Order>>(text).map(|order| order.0.all);
        assert!(read(r#"{"all":true}"#).unwrap());
        assert!(!read("{}").unwrap());
        for wrong in ["[true]", "[]", "null", "true", r#""all""#, r#"{"all":true,"all":false}"#, r#"{"al":true}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
