//! The settings that ask for a moment that a provider does not tell (`auth_time`). Pure.

use crate::guard::route::Route;

/// Something that asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unmeetable {
    /// The problem, beginning with the key.
    pub(super) problem: String,
    /// True if nobody at all can meet it; otherwise nobody of this provider.
    pub(super) is_certain: bool,
}

/// Everything that asks when somebody signed in, of a provider that does not say so. `max_age`: the provider's own
/// demand; `is_alone`: true if there is no other provider.
pub(super) fn unmeetable(idp: &str, max_age: Option<u64>, routes: &[Route], is_alone: bool) -> Vec<Unmeetable> {
    let remedy = format!(
        "the provider does not say when somebody signed in (its metadata lists claims, auth_time not among them; if it \
         does say so, set idp.{idp}.auth_time = \"told\")"
    );
    let own = max_age.map(|_| Unmeetable {
        problem: format!("idp.{idp}.max_age: can never be met, so nobody can sign in: {remedy}"),
        is_certain: true,
    });
    let of_routes =
        routes.iter().enumerate().filter(|(_, route)| route.max_auth_age.is_some()).filter_map(|(index, route)| {
            let idps = &route.access.idps;
            let is_admitted = idps.is_empty() || idps.iter().any(|name| name == idp);
            let is_certain = idps.len() == 1 || (idps.is_empty() && is_alone);
            let whom = if is_certain { "anybody".to_owned() } else { format!("people of idp.{idp}") };
            let problem = format!("route[{index}].max_auth_age: can never be met by {whom}: {remedy}");
            is_admitted.then_some(Unmeetable { problem, is_certain })
        });
    own.into_iter().chain(of_routes).collect()
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::guard::access::AccessRule;
    use crate::guard::route::PathRule;

    fn route(idps: &[&str], max_auth_age: Option<Duration>) -> Route {
        let idps = idps.iter().map(|idp| (*idp).to_owned()).collect();
        let access = AccessRule { idps, ..AccessRule::default() };
        Route { max_auth_age, ..Route::new(PathRule::parse("/vault").unwrap(), access) }
    }

    /// R-A13: one line a case: the provider's own demand, whom the route admits, whether it demands anything, whether there
    /// is another provider; how many findings, and how many of them let nobody pass.
    #[test]
    fn demands_on_a_missing_auth_time_are_found() {
        let hour = Some(Duration::HOUR);
        for (max_age, idps, age, is_alone, found, certain) in [
            (None, &[][..], None, true, 0, 0),
            (None, &[][..], hour, true, 1, 1),
            (None, &[][..], hour, false, 1, 0),
            (None, &["company"][..], hour, false, 1, 1),
            (None, &["company", "other"][..], hour, false, 1, 0),
            (None, &["other"][..], hour, false, 0, 0),
            (Some(60), &["other"][..], hour, false, 1, 1),
            (Some(60), &[][..], hour, true, 2, 2),
        ] {
            let findings = unmeetable("company", max_age, &[route(idps, age)], is_alone);
            let count = findings.iter().filter(|finding| finding.is_certain).count();
            assert_eq!((findings.len(), count), (found, certain), "{findings:?}");
        }
    }
}
