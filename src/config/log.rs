//! `[log]`: the format and the level.

use super::reader::Reader;
use crate::telemetry::{LogFormat, LogSettings};

pub(super) fn read(section: &mut Reader) -> LogSettings {
    let default = LogSettings::default();
    let format = match section.optional::<String>("format").as_deref() {
        None => default.format,
        Some("human") => LogFormat::Human,
        Some("json") => LogFormat::Json,
        Some(_) => {
            section.fault("format", "must be \"human\" or \"json\"");
            default.format
        }
    };
    let level = section.optional::<String>("level").map(|level| level.parse());
    if matches!(level, Some(Err(_))) {
        section.fault("level", "must be error, warn, info, debug or trace");
    }
    LogSettings { format, level: level.and_then(Result::ok).unwrap_or(default.level) }
}
