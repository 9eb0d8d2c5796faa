//! `[session]` and `[[session.timeout]]`.

use std::time::Duration as StdDuration;

use time::Duration;

use super::reader::Reader;
use crate::session::timeout::{GroupLimits, Limits, TimeoutPolicy};
use crate::web::cookies::is_cookie_name;
use crate::web::public_url::PublicUrl;

/// Shortest timeout that makes sense.
const SHORTEST: StdDuration = StdDuration::from_secs(1);
/// Longest absolute timeout: browsers keep no cookie longer (RFC 6265bis).
const LONGEST: StdDuration = StdDuration::from_hours(400 * 24);
const DEFAULT_IDLE: StdDuration = StdDuration::from_mins(30);
const DEFAULT_ABSOLUTE: StdDuration = StdDuration::from_hours(12);

#[derive(Debug)]
pub(super) struct SessionSettings {
    pub(super) cookie_name: Option<String>,
    pub(super) timeouts: TimeoutPolicy,
}

pub(super) fn read(
    section: &mut Reader,
    public_url: Option<&PublicUrl>,
    warnings: &mut Vec<String>,
) -> Option<SessionSettings> {
    let default = limits(section, Some((DEFAULT_IDLE, DEFAULT_ABSOLUTE)));
    let cookie_name = section.optional::<String>("cookie_name");
    if let Some(name) = &cookie_name {
        check_cookie_name(section, name, public_url);
    }
    if section.or::<u64>("max_per_user", 0) > 0 {
        section.fault("max_per_user", "must be 0: this version does not limit sessions per user");
    }
    match section.optional::<String>("on_limit").as_deref() {
        None | Some("end-oldest") => {}
        Some("refuse") => warnings.push("session.on_limit: has no effect in this version".into()),
        Some(_) => section.fault("on_limit", "must be \"end-oldest\" or \"refuse\""),
    }
    let by_group = section.listed_sections("timeout").iter_mut().filter_map(group_limits).collect();
    Some(SessionSettings { cookie_name, timeouts: TimeoutPolicy { default: default?, by_group } })
}

fn check_cookie_name(section: &Reader, name: &str, public_url: Option<&PublicUrl>) {
    let https = public_url.is_none_or(PublicUrl::is_https);
    if !is_cookie_name(name) || name.contains("login-") {
        section.fault("cookie_name", "must be a cookie's name: letters, digits, `-` and `_`, without `login-`");
    } else if https && !name.starts_with("__Host-") {
        section.fault("cookie_name", "must begin with `__Host-`, so that no neighbour can plant it");
    } else if !https && name.starts_with("__") {
        section.fault("cookie_name", "must not begin with `__`: browsers refuse such cookies over plain http");
    }
}

fn group_limits(section: &mut Reader) -> Option<GroupLimits> {
    let groups = section.required::<Vec<String>>("groups");
    if groups.as_ref().is_some_and(Vec::is_empty) {
        section.fault("groups", "must name at least one group");
    }
    let limits = limits(section, None);
    Some(GroupLimits { groups: groups?, limits: limits? })
}

fn limits(section: &mut Reader, default: Option<(StdDuration, StdDuration)>) -> Option<Limits> {
    let mut read = |key: &str, default: Option<StdDuration>| match default {
        Some(default) => Some(section.or(key, default)),
        None => section.required(key),
    };
    let idle = read("idle_timeout", default.map(|(idle, _)| idle));
    let absolute = read("absolute_timeout", default.map(|(_, absolute)| absolute));
    let (idle, absolute) = (idle?, absolute?);
    if !(SHORTEST..=LONGEST).contains(&absolute) {
        section.fault("absolute_timeout", "must be between 1s and 400d");
    }
    if idle < SHORTEST || idle > absolute {
        section.fault("idle_timeout", "must be at least 1s and at most `absolute_timeout`");
    }
    Some(Limits { idle: Duration::try_from(idle).ok()?, absolute: Duration::try_from(absolute).ok()? })
}
