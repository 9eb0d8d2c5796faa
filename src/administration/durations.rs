//! Durations as people write them: `90s`, `15m`, `12h`, `7d`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use time::Duration;

/// The longest that anything here may be.
const LONGEST: Duration = Duration::days(400);

/// Reads one.
pub(crate) fn parse(text: &str) -> Result<Duration, &'static str> {
    let parsed = humantime::parse_duration(text).ok().and_then(|duration| Duration::try_from(duration).ok());
    match parsed {
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err("must be a duration such as 90s, 15m, 12h or 7d, at most 400d"),
    }
}

pub(crate) fn write(duration: Duration) -> String {
    humantime::format_duration(duration.unsigned_abs()).to_string().replace(' ', "")
}

pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&write(*duration))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// The same, where there may be none.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Duration, Error, parse};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| parse(&text).map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_people_write_them() {
        assert_eq!(parse("12h"), Ok(Duration::hours(12)));
        assert_eq!(write(Duration::minutes(90)), "1h30m");
        assert_eq!(parse("1h30m"), Ok(Duration::minutes(90)));
        for wrong in ["", "12", "-1h", "401d", "9999999999999y", "x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
