//! `[streams]`, and the keys of routes for connections that stay open.

use std::fmt::Display;
use std::time::Duration;

use super::reader::Reader;
use crate::guard::public_url::PublicUrl;
use crate::guard::upgrade::{Protocol, StreamRules};
use crate::proxy::streams::StreamLimits;

/// Longest time for which a session may be believed that nobody can judge.
const LONGEST_UNHEARD: Duration = Duration::from_mins(5);

/// Reads `[streams]`. Streams take half of the connections at the most: strangers have some too, where routes are public, and
/// people have to be able to sign in and reviewers to end sessions.
pub(super) fn read(section: &mut Reader, max_connections: usize) -> StreamLimits {
    let default = StreamLimits::default();
    let limits = StreamLimits {
        per_session: section.or("per_session", default.per_session),
        most: section.or("most", default.most),
        unheard: section.or("unheard", default.unheard),
    };
    for (key, most) in [("per_session", limits.per_session), ("most", limits.most)] {
        if most == 0 {
            section.fault(key, "must be at least 1");
        }
    }
    if limits.unheard < Duration::from_secs(1) || limits.unheard > LONGEST_UNHEARD {
        section.fault("unheard", "must be between 1s and 5m");
    }
    StreamLimits { most: limits.most.min(max_connections / 2).max(1), ..limits }
}

/// Reads `upgrades`, `allowed_origins` and `counts_as_use` of a route.
pub(super) fn read_rules(section: &mut Reader) -> StreamRules {
    let default = StreamRules::default();
    let origin = |text: &str| PublicUrl::parse(text).map(|url| url.origin().to_owned());
    StreamRules {
        upgrades: read_list(section, "upgrades", Protocol::parse).unwrap_or(default.upgrades),
        allowed_origins: read_list(section, "allowed_origins", origin).unwrap_or(default.allowed_origins),
        counts_as_use: section.or("counts_as_use", default.counts_as_use),
    }
}

/// Reads a list, each entry of which has to pass a check.
fn read_list<T, E: Display>(section: &mut Reader, key: &str, check: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
    let entries = section.optional::<Vec<String>>(key)?;
    let checked: Result<Vec<_>, _> = entries.iter().map(|entry| check(entry)).collect();
    checked.map_err(|error| section.fault(key, error.to_string())).ok()
}
