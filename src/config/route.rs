//! `[[route]]`: the people who may pass, and the upstream behind.

use std::time::Duration as StdDuration;

use time::Duration;

use super::idp::read_acr;
use super::reader::Reader;
use super::streams;
use super::upstream;
use crate::guard::access::AccessRule;
use crate::guard::methods::MethodRule;
use crate::guard::route::{Caching, OnAnonymous, PathRule, Route, UpstreamId};
use crate::idp::ProviderSettings;
use crate::proxy::upstream::UpstreamSettings;

/// Shortest `max_auth_age`: below it a login could be too old before it is back.
const SHORTEST_AUTH_AGE: StdDuration = StdDuration::from_secs(30);

pub(super) fn read(
    reader: &mut Reader,
    idps: &[String],
    known_idps: &[ProviderSettings],
    warnings: &mut Vec<String>,
) -> (Vec<Route>, Vec<UpstreamSettings>) {
    let mut sections = reader.listed_sections("route");
    if sections.is_empty() {
        reader.fault("route", "is missing: nothing could be reached without a [[route]] section");
    }
    let mut upstreams = Vec::new();
    let mut read_one = |section| read_one(section, idps, known_idps, &mut upstreams);
    let routes: Vec<_> = sections.iter_mut().filter_map(&mut read_one).collect();
    for (index, _) in routes.iter().enumerate().filter(|(_, route)| route.upstream.is_none()) {
        warnings.push(format!("route[{index}].upstream: is missing: `serve` answers 404 there"));
    }
    (routes, upstreams)
}

fn read_one(
    section: &mut Reader,
    idps: &[String],
    known_idps: &[ProviderSettings],
    upstreams: &mut Vec<UpstreamSettings>,
) -> Option<Route> {
    let path = section.checked("path", |text: &String| PathRule::parse(text));
    if let Some(PathRule::Exact(path) | PathRule::Prefix(path)) = &path
        && (path == "/sso" || path.starts_with("/sso/"))
    {
        section.fault("path", "must not be below /sso, which is the broker's own");
    }
    let methods = read_methods(section);
    let upstream = upstream::read(section, path.as_ref()).map(|upstream| {
        upstreams.push(upstream);
        UpstreamId(upstreams.len() - 1)
    });
    let access = read_access(section, idps);
    let has_manner = section.has("on_anonymous");
    let on_anonymous = read_on_anonymous(section);
    let max_auth_age = section.optional::<StdDuration>("max_auth_age");
    let acr = read_acr(section, "acr");
    if access.public && (max_auth_age.is_some() || !acr.is_empty() || has_manner) {
        let problem = "must not be \"public\" beside max_auth_age, acr or on_anonymous: nobody would be asked";
        section.fault("access", problem);
    }
    if max_auth_age.is_some_and(|age| age < SHORTEST_AUTH_AGE) {
        section.fault("max_auth_age", "must be at least 30s");
    }
    // A provider whose own section has faults is not known; nothing is said of it here.
    let admitted = idps.iter().filter(|idp| access.idps.is_empty() || access.idps.contains(idp));
    let admitted: Vec<_> = admitted.map(|name| known_idps.iter().find(|idp| idp.name == *name)).collect();
    let none = |fits: &dyn Fn(&ProviderSettings) -> bool| !admitted.iter().any(|idp| idp.is_none_or(fits));
    if max_auth_age.is_some() && none(&|idp| !idp.never_tells_auth_time()) {
        section.fault(
            "max_auth_age",
            "can be asked only of OpenID Connect providers that say when somebody signed in (auth_time there), and the \
             route admits none",
        );
    }
    if !acr.is_empty() && none(&|idp| idp.can_meet(&acr)) {
        section.fault("acr", "is accepted from no provider that the route admits (OpenID Connect, `acr_values` there)");
    }
    let pass_access_token = section.or("pass_access_token", false);
    if pass_access_token && access.public {
        section.fault("pass_access_token", "must not be true beside access = \"public\": strangers have no token");
    }
    if pass_access_token && admitted.iter().flatten().any(|idp| idp.client.dpop.is_some()) {
        section.fault(
            "pass_access_token",
            "must not be true for providers with dpop = true: upstreams cannot use their tokens",
        );
    }
    let caching = read_caching(section);
    let streams = streams::read_rules(section);
    let max_auth_age = max_auth_age.and_then(|age| Duration::try_from(age).ok());
    Some(Route {
        path: path?,
        methods,
        upstream,
        access,
        on_anonymous,
        max_auth_age,
        acr,
        pass_access_token,
        caching,
        streams,
    })
}

fn read_access(section: &mut Reader, idps: &[String]) -> AccessRule {
    // A list that is there and empty is a mistake (a variable that was never set): read as "no restriction" it
    // would open the route to everybody.
    let mut list = |key: &str| {
        let listed = section.optional::<Vec<String>>(key);
        if listed.as_ref().is_some_and(Vec::is_empty) {
            section.fault(key, "must not be empty: leave it out if it does not restrict");
        }
        let listed = listed.unwrap_or_default();
        if let Some(problem) = listed.iter().find_map(|item| never_fits(key, item)) {
            section.fault(key, problem);
        }
        listed
    };
    let mut rule = AccessRule {
        public: false,
        groups: list("groups"),
        emails: list("emails"),
        email_domains: list("email_domains"),
        idps: list("idps"),
        subjects: list("subjects"),
    };
    let restricted = rule != AccessRule::default();
    match section.optional::<String>("access").as_deref() {
        None | Some("session") => {}
        Some("public") if restricted => {
            section.fault("access", "must not be \"public\" beside groups, emails or the like");
        }
        Some("public") => rule.public = true,
        Some(_) => section.fault("access", "must be \"session\" or \"public\""),
    }
    if let Some(unknown) = rule.idps.iter().find(|name| !idps.contains(name)) {
        section.fault("idps", format!("names a provider that is not configured: {unknown}"));
    }
    rule
}

/// The problem with an item that can fit nobody, if it is one.
fn never_fits(key: &str, item: &str) -> Option<&'static str> {
    match key {
        _ if item.trim().is_empty() => Some("must not hold empty names"),
        _ if item.starts_with('[') || item.contains('"') => {
            Some("must be a list of names; in the environment with commas between them, without brackets and quotes")
        }
        "emails" if !item.contains('@') => Some("must hold whole addresses, such as ann@example.com"),
        "email_domains" if item.contains(['@', '*']) => Some("must hold bare domains, such as example.com"),
        _ => None,
    }
}

fn read_on_anonymous(section: &mut Reader) -> OnAnonymous {
    match section.optional::<String>("on_anonymous").as_deref() {
        None | Some("auto") => OnAnonymous::Auto,
        Some("login") => OnAnonymous::Login,
        Some("401") => OnAnonymous::Unauthorized,
        Some(_) => {
            section.fault("on_anonymous", "must be \"auto\", \"login\" or \"401\"");
            OnAnonymous::Auto
        }
    }
}

fn read_methods(section: &mut Reader) -> MethodRule {
    let Some(names) = section.optional::<Vec<String>>("methods") else { return MethodRule::default() };
    MethodRule::parse(&names).map_err(|error| section.fault("methods", error.to_string())).unwrap_or_default()
}

fn read_caching(section: &mut Reader) -> Caching {
    match section.optional::<String>("cache").as_deref() {
        None | Some("private") => Caching::Private,
        Some("upstream") => Caching::AsTheUpstreamSays,
        Some(_) => {
            section.fault("cache", "must be \"private\" or \"upstream\"");
            Caching::Private
        }
    }
}
