//! `[session]` and `[[session.timeout]]`.

use std::num::NonZeroUsize;
use std::time::Duration as StdDuration;

use time::Duration;

use super::reader::Reader;
use crate::session::policy::{Binding, OnLimit, SessionRules};
use crate::session::timeout::{GroupLimits, InvalidLimits, Limits, TimeoutPolicy};
use crate::web::cookies::check_session_name;
use crate::web::public_url::PublicUrl;

const DEFAULT_IDLE: StdDuration = StdDuration::from_mins(30);
const DEFAULT_ABSOLUTE: StdDuration = StdDuration::from_hours(12);

#[derive(Debug)]
pub(super) struct SessionSettings {
    pub(super) cookie_name: Option<String>,
    pub(super) rules: SessionRules,
}

pub(super) fn read(section: &mut Reader, public_url: Option<&PublicUrl>) -> Option<SessionSettings> {
    let default = limits(section, Some((DEFAULT_IDLE, DEFAULT_ABSOLUTE)));
    let cookie_name = section.optional::<String>("cookie_name");
    if let Some(name) = &cookie_name {
        check_cookie_name(section, name, public_url);
    }
    let max_per_user = usize::try_from(section.or::<u64>("max_per_user", 0)).ok().and_then(NonZeroUsize::new);
    let on_limit = one_of(section, "on_limit", [("end-oldest", OnLimit::EndOldest), ("refuse", OnLimit::Refuse)]);
    let bind = one_of(section, "bind", [("none", Binding::None), ("user-agent", Binding::UserAgent)]);
    let by_group = section.listed_sections("timeout").iter_mut().filter_map(group_limits).collect();
    let timeouts = TimeoutPolicy { default: default?, by_group };
    Some(SessionSettings { cookie_name, rules: SessionRules { timeouts, max_per_user, on_limit, bind } })
}

fn one_of<T: Copy + Default>(section: &mut Reader, key: &str, choices: [(&str, T); 2]) -> T {
    let Some(text) = section.optional::<String>(key) else { return T::default() };
    let chosen = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    chosen.unwrap_or_else(|| {
        section.fault(key, format!("must be \"{}\" or \"{}\"", choices[0].0, choices[1].0));
        T::default()
    })
}

fn check_cookie_name(section: &Reader, name: &str, public_url: Option<&PublicUrl>) {
    if is_taken(name) {
        section.fault(
            "cookie_name",
            "must not hold `login-`, or end in `limit` or `landings`: other cookies are called so",
        );
    } else if let Err(fault) = check_session_name(name, public_url.is_none_or(PublicUrl::is_https)) {
        section.fault("cookie_name", fault.to_string());
    }
}

/// Is true for names of cookies that a login sets beside the session's.
fn is_taken(name: &str) -> bool {
    name.contains("login-") || name.ends_with("limit") || name.ends_with("landings")
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
    // A duration that this type cannot hold is too long for anything.
    let duration = |duration: StdDuration| Duration::try_from(duration).unwrap_or(Duration::MAX);
    let limits = Limits::new(duration(idle), duration(absolute));
    if let Err(fault) = limits {
        let key = match fault {
            InvalidLimits::Absolute => "absolute_timeout",
            InvalidLimits::Idle => "idle_timeout",
        };
        section.fault(key, fault.to_string());
    }
    limits.ok()
}
