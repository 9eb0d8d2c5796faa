//! Access rules of routes: pure decisions on who may pass.

use std::fmt::{self, Write};

use time::{Duration, OffsetDateTime};

use counterfoil_core::identity::Identity;

/// The people who may pass. Lists that are empty do not restrict; each list that is not must be met.
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

/// Most items of a list that the log repeats.
const MOST_ITEMS: usize = 50;

/// The rule as the configuration words it, for the log.
impl fmt::Display for AccessRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("groups", &self.groups),
            ("emails", &self.emails),
            ("email_domains", &self.email_domains),
            ("idps", &self.idps),
            ("subjects", &self.subjects),
        ];
        let demanded = lists.into_iter().filter(|(_, items)| !items.is_empty());
        let demanded = demanded.map(|(name, items)| format!("{name}: {}", listed(items)));
        formatter.write_str(&demanded.collect::<Vec<_>>().join("; "))
    }
}

/// Everything about a person that an [`AccessRule`] looks at, in the same words, for the log.
#[derive(Debug, Clone, Copy)]
pub struct Holdings<'a>(pub &'a Identity);

impl fmt::Display for Holdings<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { idp, groups, email, .. } = self.0;
        write!(formatter, "groups: {}; email: ", listed(groups))?;
        match (email, self.0.verified_email()) {
            (_, Some(verified)) => formatter.write_str(verified)?,
            (Some(unverified), None) => write!(formatter, "{unverified} (not verified, so it meets no rule)")?,
            (None, None) => formatter.write_str("none")?,
        }
        write!(formatter, "; idp: {idp}")
    }
}

fn listed(items: &[String]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    let mut text = items.iter().take(MOST_ITEMS).map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(more) = items.len().checked_sub(MOST_ITEMS).filter(|more| *more > 0) {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {more} more");
    }
    text
}

/// A rule's verdict on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may pass.
    Pass,
    /// It needs a session first.
    NeedsSession,
    /// Its authentication is too old, or its `acr` is not one that is demanded.
    NeedsFreshLogin,
    /// This person may not pass.
    Forbidden,
}

/// A route's demands on how the person authenticated.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuthenticationRule<'a> {
    /// The oldest authentication that may pass.
    pub max_age: Option<Duration>,
    /// Ways to authenticate (`acr`), any of which may pass; empty: all.
    pub acr: &'a [String],
}

/// A person's authentication, as far as the provider told of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Authentication<'a> {
    /// When.
    pub at: Option<OffsetDateTime>,
    /// Its class (`acr`).
    pub acr: Option<&'a str>,
}

/// Decides for a person with a session and how they authenticated, or for a stranger. Where a recent authentication or
/// a certain `acr` is demanded and the session does not record it, another authentication is needed.
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
    /// Lets everybody pass, with a session or without.
    pub fn public() -> Self {
        Self { public: true, ..Self::default() }
    }

    /// Lets everybody pass who has a session.
    pub fn signed_in() -> Self {
        Self::default()
    }

    /// Lets the members of any of these groups pass; of none, nobody.
    pub fn any_group(groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { groups: restricting(groups), ..Self::default() }
    }

    /// Lets people pass who have a verified e-mail address at any of these domains; at none, nobody.
    pub fn any_email_domain(domains: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { email_domains: restricting(domains), ..Self::default() }
    }

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

/// Makes a list that restricts even if it is empty: an ordinary empty list does not restrict.
fn restricting(items: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    let items: Vec<String> = items.into_iter().map(Into::into).collect();
    if items.is_empty() { vec![String::new()] } else { items }
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

    #[test]
    fn rules_and_people_are_written_in_the_same_words() {
        let rule = AccessRule { groups: list(&["finance", "ops"]), idps: list(&["company"]), ..AccessRule::default() };
        assert_eq!(rule.to_string(), "groups: finance, ops; idps: company");
        assert_eq!(Holdings(&alice()).to_string(), "groups: staff; email: alice@example.com; idp: company");
        let groups: Vec<_> = (0..52).map(|group| group.to_string()).collect();
        let nobody = Identity { groups, email_verified: false, ..alice() };
        let has = Holdings(&nobody).to_string();
        assert!(
            has.contains("48, 49 and 2 more; email: alice@example.com (not verified, so it meets no rule)"),
            "{has}"
        );
        let nameless = Identity { groups: vec![], email: None, ..alice() };
        assert_eq!(Holdings(&nameless).to_string(), "groups: none; email: none; idp: company");
    }

    /// A list that is empty, perhaps by a mistake in a configuration, lets nobody pass.
    #[test]
    fn a_rule_of_no_groups_lets_nobody_pass() {
        let just_now = Authentication { at: Some(NOW), acr: None };
        for (rule, expected) in [
            (AccessRule::any_group([""; 0]), Decision::Forbidden),
            (AccessRule::any_email_domain([""; 0]), Decision::Forbidden),
            (AccessRule::any_group(["finance"]), Decision::Forbidden),
            (AccessRule::any_group(["finance", "staff"]), Decision::Pass),
            (AccessRule::any_email_domain(["example.com"]), Decision::Pass),
            (AccessRule::signed_in(), Decision::Pass),
        ] {
            assert_eq!(decide(&rule, ANY, Some((&alice(), just_now)), || NOW), expected, "{rule:?}");
        }
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
    fn another_acr_needs_another_login() {
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
