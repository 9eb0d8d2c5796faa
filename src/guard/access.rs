//! Who may pass a route: a pure decision.

use time::{Duration, OffsetDateTime};

use crate::identity::Identity;

/// Who may pass. Lists that are empty do not restrict; each list that is not must be met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessRule {
    /// Nobody needs a session.
    pub public: bool,
    /// Any of these groups.
    pub groups: Vec<String>,
    /// One of these verified addresses, or one of `email_domains`.
    pub emails: Vec<String>,
    /// A verified address at one of these domains, or one of `emails`.
    pub email_domains: Vec<String>,
    /// Signed in with any of these providers.
    pub idps: Vec<String>,
    /// Any of these subjects.
    pub subjects: Vec<String>,
}

/// What the rule says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may pass.
    Pass,
    /// It needs a session first.
    NeedsSession,
    /// Its authentication is too old, or not of the manner that is demanded.
    NeedsFreshLogin,
    /// This person may not pass.
    Forbidden,
}

/// What a route demands of how the person authenticated.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuthenticationRule<'a> {
    /// The oldest authentication that may pass.
    pub max_age: Option<Duration>,
    /// Ways to authenticate (`acr`), any of which may pass; empty: all.
    pub acr: &'a [String],
}

/// How a person authenticated, as far as the provider said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Authentication<'a> {
    /// When.
    pub at: Option<OffsetDateTime>,
    /// In what manner (`acr`).
    pub acr: Option<&'a str>,
}

/// Decides for a person with a session and how they authenticated, or for a stranger. Who demands a recent
/// authentication, or one of a certain manner, and does not know when or how it was has to ask for another.
pub fn decide(
    rule: &AccessRule,
    demanded: AuthenticationRule<'_>,
    person: Option<(&Identity, Authentication<'_>)>,
    now: impl FnOnce() -> OffsetDateTime,
) -> Decision {
    if rule.public {
        return Decision::Pass;
    }
    let Some((identity, authentication)) = person else { return Decision::NeedsSession };
    if !rule.allows(identity) {
        Decision::Forbidden
    } else if demanded.is_met_by(authentication, now) {
        Decision::Pass
    } else {
        Decision::NeedsFreshLogin
    }
}

impl AuthenticationRule<'_> {
    fn is_met_by(&self, found: Authentication<'_>, now: impl FnOnce() -> OffsetDateTime) -> bool {
        let is_of_the_manner =
            self.acr.is_empty() || found.acr.is_some_and(|acr| self.acr.iter().any(|demanded| demanded == acr));
        is_of_the_manner && self.max_age.is_none_or(|max_age| found.at.is_some_and(|at| now() - at <= max_age))
    }
}

impl AccessRule {
    fn allows(&self, identity: &Identity) -> bool {
        let any_group = |groups: &[String]| groups.iter().any(|group| identity.groups.contains(group));
        (self.groups.is_empty() || any_group(&self.groups))
            && (self.idps.is_empty() || self.idps.contains(&identity.idp))
            && (self.subjects.is_empty() || self.subjects.contains(&identity.subject))
            && self.allows_email(identity.verified_email())
    }

    fn allows_email(&self, verified: Option<&str>) -> bool {
        if self.emails.is_empty() && self.email_domains.is_empty() {
            return true;
        }
        let Some((address, domain)) = verified.and_then(|address| Some((address, address.split_once('@')?.1))) else {
            return false;
        };
        self.emails.iter().any(|own| own.eq_ignore_ascii_case(address))
            || self.email_domains.iter().any(|own| own.eq_ignore_ascii_case(domain))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);
    const ANY: AuthenticationRule<'static> = AuthenticationRule { max_age: None, acr: &[] };

    fn alice() -> Identity {
        Identity {
            idp: "company".into(),
            issuer: "https://idp.example.test".into(),
            subject: "1".into(),
            name: None,
            preferred_username: None,
            email: Some("alice@example.com".into()),
            email_verified: true,
            groups: vec!["staff".into()],
        }
    }

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    /// R-I01, R-I07, R-I08: one line a case.
    #[test]
    fn each_list_must_be_met_exactly() {
        let rule = AccessRule::default;
        for (rule, expected) in [
            (rule(), Decision::Pass),
            (AccessRule { groups: list(&["finance", "staff"]), ..rule() }, Decision::Pass),
            (AccessRule { groups: list(&["sta"]), ..rule() }, Decision::Forbidden),
            (AccessRule { groups: list(&["Staff"]), ..rule() }, Decision::Forbidden),
            (AccessRule { groups: list(&["staff"]), idps: list(&["other"]), ..rule() }, Decision::Forbidden),
            (AccessRule { subjects: list(&["1"]), ..rule() }, Decision::Pass),
            (AccessRule { subjects: list(&["11"]), ..rule() }, Decision::Forbidden),
            (AccessRule { emails: list(&["Alice@example.com"]), ..rule() }, Decision::Pass),
            (AccessRule { email_domains: list(&["Example.com"]), ..rule() }, Decision::Pass),
            (AccessRule { email_domains: list(&["ample.com"]), ..rule() }, Decision::Forbidden),
        ] {
            let just_now = Authentication { at: Some(NOW), acr: None };
            assert_eq!(decide(&rule, ANY, Some((&alice(), just_now)), || NOW), expected, "{rule:?}");
            assert_eq!(decide(&rule, ANY, None, || NOW), Decision::NeedsSession, "{rule:?}");
        }
        let public = AccessRule { public: true, ..rule() };
        assert_eq!(decide(&public, ANY, None, || NOW), Decision::Pass);
    }

    /// R-D15
    #[test]
    fn an_unverified_address_meets_no_rule() {
        let rule = AccessRule { email_domains: list(&["example.com"]), ..AccessRule::default() };
        let unverified = Identity { email_verified: false, ..alice() };
        assert_eq!(decide(&rule, ANY, Some((&unverified, Authentication::default())), || NOW), Decision::Forbidden);
    }

    #[test]
    fn an_old_authentication_needs_a_fresh_login_unless_it_is_forbidden_anyway() {
        let rule = AccessRule::default();
        let recent = AuthenticationRule { max_age: Some(Duration::minutes(10)), acr: &[] };
        let decided = |rule: &AccessRule, demanded, at: Option<OffsetDateTime>| {
            decide(rule, demanded, Some((&alice(), Authentication { at, acr: None })), || NOW)
        };
        let at = |age: i64| decided(&rule, recent, Some(NOW - Duration::seconds(age)));
        assert_eq!((at(600), at(601)), (Decision::Pass, Decision::NeedsFreshLogin));
        assert_eq!(decided(&rule, recent, None), Decision::NeedsFreshLogin);
        assert_eq!(decided(&rule, ANY, None), Decision::Pass);
        let others = AccessRule { groups: list(&["finance"]), ..rule.clone() };
        assert_eq!(decided(&others, recent, Some(NOW - Duration::HOUR)), Decision::Forbidden);
    }

    /// R-A13
    #[test]
    fn an_authentication_of_another_manner_needs_another_login() {
        let acr = list(&["urn:example:mfa", "urn:example:key"]);
        let demanded = AuthenticationRule { max_age: None, acr: &acr };
        for (found, expected) in [
            (Some("urn:example:mfa"), Decision::Pass),
            (Some("urn:example:key"), Decision::Pass),
            (Some("urn:example:MFA"), Decision::NeedsFreshLogin),
            (Some("urn:example:mfa urn:example:key"), Decision::NeedsFreshLogin),
            (Some(""), Decision::NeedsFreshLogin),
            (None, Decision::NeedsFreshLogin),
        ] {
            let authentication = Authentication { at: Some(NOW), acr: found };
            let decided = decide(&AccessRule::default(), demanded, Some((&alice(), authentication)), || NOW);
            assert_eq!(decided, expected, "{found:?}");
        }
    }
}
