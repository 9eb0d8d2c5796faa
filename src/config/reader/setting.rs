//! The types that settings can have, and how each is read.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use toml::Value;
use url::Url;

/// A type that settings can have. From the environment everything comes as text.
pub(in crate::config) trait Setting: Sized {
    /// The expected value, in words.
    const WHAT: &'static str;
    /// True if it is a list.
    const IS_LIST: bool = false;
    /// True if a fault may repeat the value: never one that may hold a secret.
    const MAY_BE_SHOWN: bool = false;

    fn read(value: &Value) -> Option<Self>;

    /// The exact fault of a value that cannot be read, if more can be said than the expected value.
    fn fault(_value: &Value) -> Option<String> {
        None
    }
}

impl Setting for String {
    const WHAT: &'static str = "a text";

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Setting for bool {
    const WHAT: &'static str = "true or false";

    fn read(value: &Value) -> Option<Self> {
        value.as_bool().or_else(|| value.as_str()?.parse().ok())
    }
}

impl Setting for u64 {
    const WHAT: &'static str = "a whole number";

    fn read(value: &Value) -> Option<Self> {
        value.as_integer().and_then(|number| number.try_into().ok()).or_else(|| value.as_str()?.parse().ok())
    }
}

impl Setting for usize {
    const WHAT: &'static str = u64::WHAT;

    fn read(value: &Value) -> Option<Self> {
        u64::read(value)?.try_into().ok()
    }
}

/// A number of bytes, written with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct ByteSize(pub(in crate::config) u64);

impl Setting for ByteSize {
    const WHAT: &'static str = "a size such as 512B, 1KiB, 10MiB or 1GiB";

    fn read(value: &Value) -> Option<Self> {
        let text = value.as_str()?;
        let (number, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit())?);
        let unit = match unit.trim_start() {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit).map(Self)
    }
}

impl Setting for Duration {
    const WHAT: &'static str = "a duration such as 90s, 15m, 12h or 7d";

    fn read(value: &Value) -> Option<Self> {
        humantime::parse_duration(value.as_str()?).ok()
    }
}

impl Setting for Url {
    const WHAT: &'static str = "an absolute URL";

    fn read(value: &Value) -> Option<Self> {
        Self::parse(value.as_str()?).ok()
    }
}

impl Setting for SocketAddr {
    const WHAT: &'static str = "an address and a port, such as 127.0.0.1:8080";

    fn read(value: &Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
}

impl Setting for IpNet {
    const WHAT: &'static str = "a network such as 10.0.0.0/8, or an address";
    const MAY_BE_SHOWN: bool = true;

    fn read(value: &Value) -> Option<Self> {
        let text = value.as_str()?;
        text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(Self::from))
    }
}

impl<T: Setting> Setting for Vec<T> {
    const WHAT: &'static str = "a list (in the environment: separated by commas)";
    const IS_LIST: bool = true;
    const MAY_BE_SHOWN: bool = T::MAY_BE_SHOWN;

    fn read(value: &Value) -> Option<Self> {
        items(value)?.iter().map(T::read).collect()
    }

    /// The first item that is none.
    fn fault(value: &Value) -> Option<String> {
        let items = items(value)?;
        let (place, item) = items.iter().enumerate().find(|(_, item)| T::read(item).is_none())?;
        let shown = item.as_str().filter(|_| T::MAY_BE_SHOWN).map(|text| format!(" ({text})")).unwrap_or_default();
        Some(format!("each must be {}; number {}{shown} is not", T::WHAT, place + 1))
    }
}

/// The items of a list, however it is written.
fn items(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items.clone()),
        Value::String(text) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(items.map(|item| Value::String(item.to_owned())).collect())
        }
        _ => None,
    }
}
