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
    /// Its authentication is too old.
    NeedsFreshLogin,
    /// This person may not pass.
    Forbidden,
}

/// Decides for a person with a session and the moment of their authentication, or for a stranger. Who demands a
/// recent authentication and does not know when it was has to ask for a fresh one.
pub fn decide(
    rule: &AccessRule,
    max_auth_age: Option<Duration>,
    person: Option<(&Identity, Option<OffsetDateTime>)>,
    now: impl FnOnce() -> OffsetDateTime,
) -> Decision {
    if rule.public {
        return Decision::Pass;
    }
    let Some((identity, auth_time)) = person else { return Decision::NeedsSession };
    if !rule.allows(identity) {
        Decision::Forbidden
    } else if max_auth_age.is_some_and(|max_age| auth_time.is_none_or(|auth_time| now() - auth_time > max_age)) {
        Decision::NeedsFreshLogin
    } else {
        Decision::Pass
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
            assert_eq!(decide(&rule, None, Some((&alice(), Some(NOW))), || NOW), expected, "{rule:?}");
            assert_eq!(decide(&rule, None, None, || NOW), Decision::NeedsSession, "{rule:?}");
        }
        let public = AccessRule { public: true, ..rule() };
        assert_eq!(decide(&public, None, None, || NOW), Decision::Pass);
    }

    /// R-D15
    #[test]
    fn an_unverified_address_meets_no_rule() {
        let rule = AccessRule { email_domains: list(&["example.com"]), ..AccessRule::default() };
        let unverified = Identity { email_verified: false, ..alice() };
        assert_eq!(decide(&rule, None, Some((&unverified, None)), || NOW), Decision::Forbidden);
    }

    #[test]
    fn an_old_authentication_needs_a_fresh_login_unless_it_is_forbidden_anyway() {
        let (rule, max_age) = (AccessRule::default(), Some(Duration::minutes(10)));
        let at = |age: i64| decide(&rule, max_age, Some((&alice(), Some(NOW - Duration::seconds(age)))), || NOW);
        assert_eq!((at(600), at(601)), (Decision::Pass, Decision::NeedsFreshLogin));
        assert_eq!(decide(&rule, max_age, Some((&alice(), None)), || NOW), Decision::NeedsFreshLogin);
        assert_eq!(decide(&rule, None, Some((&alice(), None)), || NOW), Decision::Pass);
        let others = AccessRule { groups: list(&["finance"]), ..rule.clone() };
        let old = NOW - Duration::HOUR;
        assert_eq!(decide(&others, max_age, Some((&alice(), Some(old))), || NOW), Decision::Forbidden);
    }
}
