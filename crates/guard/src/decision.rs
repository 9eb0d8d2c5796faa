//! The guard's one decision: which requests may pass, and which facts have to be loaded before that is known.
//!
//! [`judge`] is pure. The fast path asks it once, with what this process knows already, and takes [`Verdict::Pass`]
//! alone; the slow path loads whatever the verdict needs and judges again. So the two cannot differ.

use counterfoil_core::identity::Identity;
use time::{Duration, OffsetDateTime};

use crate::access::{Authentication, AuthenticationRule, Decision, decide};
use crate::route::Route;

/// The session behind a request, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Presented<'a> {
    /// Only the store can tell.
    Unknown,
    /// The store cannot be asked.
    Unavailable,
    /// No session, or one that has ended.
    Stranger,
    /// A live session of this person.
    Person(&'a Identity, Authentication<'a>),
}

/// The result of revalidating a live session, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// Nobody has to be asked.
    NotDue,
    /// The provider has to be asked first.
    Due,
    /// It was asked, and the session counts.
    Confirmed,
    /// Its answer was indeterminate; only a login can tell.
    Indeterminate,
    /// The store cannot be asked, so neither can the provider.
    Unavailable,
}

/// The access token for the upstream, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenState {
    /// It was not looked for.
    Unasked,
    /// It is there.
    AtHand,
    /// There is none, and only a login brings one.
    LoginNeeded,
    /// Nobody can be asked for it now.
    Unavailable,
}

/// Everything about a request that [`judge`] looks at beside its route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) presented: Presented<'a>,
    /// Counts for a live session alone.
    pub(crate) confirmation: Confirmation,
    /// Counts where the route passes a token on.
    pub(crate) token: TokenState,
}

/// The caller that a request passes as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The person of the session.
    Person,
    /// Nobody in particular.
    Stranger,
}

/// The reason that a request has to go to the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginReason {
    /// There is no session.
    NoSession,
    /// The session does not suffice: too old, of another `acr`, indeterminate or without an access token.
    Reauthenticate,
}

/// The verdict on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may pass.
    Pass(Caller),
    /// The store has to be asked for the session.
    NeedsStore,
    /// The session has to be revalidated.
    NeedsRevalidation,
    /// The access token has to be loaded.
    NeedsToken,
    /// Somebody has to sign in first.
    Login(LoginReason),
    /// This person may not pass.
    Forbidden,
    /// It cannot be decided: the store or the provider does not answer.
    Outage,
}

/// Judges a request for a route, or for a path that no route covers. `clock_skew`: the largest difference between the
/// clocks of a provider and of this machine.
///
/// On a public route the session is optional: if it cannot be loaded or confirmed, the request is anonymous, and the
/// page still loads.
pub(crate) fn judge(
    route: Option<&Route>,
    facts: Facts<'_>,
    clock_skew: Duration,
    now: impl FnOnce() -> OffsetDateTime,
) -> Verdict {
    let is_public = route.is_some_and(|route| route.access.public);
    let wants_token = route.is_some_and(|route| route.pass_access_token);
    let (identity, authentication) = match facts.presented {
        Presented::Unknown => return Verdict::NeedsStore,
        Presented::Unavailable | Presented::Stranger if is_public => return Verdict::Pass(Caller::Stranger),
        Presented::Unavailable => return Verdict::Outage,
        Presented::Stranger => return Verdict::Login(LoginReason::NoSession),
        Presented::Person(identity, authentication) => (identity, authentication),
    };
    match facts.confirmation {
        Confirmation::Due => return Verdict::NeedsRevalidation,
        // The token may end sooner than the session has to be confirmed.
        Confirmation::NotDue if wants_token => return Verdict::NeedsRevalidation,
        Confirmation::Indeterminate | Confirmation::Unavailable if is_public => {
            return Verdict::Pass(Caller::Stranger);
        }
        Confirmation::Unavailable => return Verdict::Outage,
        Confirmation::NotDue | Confirmation::Confirmed | Confirmation::Indeterminate => {}
    }
    // No rule, no entry (R-I01).
    let Some(route) = route else { return Verdict::Forbidden };
    // The tolerated skew is at most the limit itself: otherwise `30s` and a skew of a minute would accept ninety
    // seconds.
    let max_age = route.max_auth_age.map(|max_age| max_age + clock_skew.min(max_age));
    let demanded = AuthenticationRule { max_age, acr: &route.acr };
    match decide(&route.access, demanded, Some((identity, authentication)), now) {
        Decision::Forbidden => Verdict::Forbidden,
        Decision::NeedsSession => Verdict::Login(LoginReason::NoSession),
        Decision::NeedsFreshLogin => Verdict::Login(LoginReason::Reauthenticate),
        Decision::Pass if facts.confirmation == Confirmation::Indeterminate => {
            Verdict::Login(LoginReason::Reauthenticate)
        }
        Decision::Pass if !wants_token => Verdict::Pass(Caller::Person),
        Decision::Pass => match facts.token {
            TokenState::Unasked => Verdict::NeedsToken,
            TokenState::AtHand => Verdict::Pass(Caller::Person),
            TokenState::LoginNeeded => Verdict::Login(LoginReason::Reauthenticate),
            TokenState::Unavailable => Verdict::Outage,
        },
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::access::AccessRule;
    use crate::route::PathRule;

    const NOW: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);
    const MAX_AGE: Duration = Duration::minutes(10);
    const SKEW: Duration = Duration::minutes(1);

    /// One request with the state of store, provider and near cache. Every field has few values, so all combinations
    /// are tried.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[expect(clippy::struct_excessive_bools, reason = "each is one question, and every combination is tried")]
    struct World {
        has_route: bool,
        is_public: bool,
        is_member: bool,
        wants_token: bool,
        /// The age of the authentication that the route allows, and the age that it has.
        max_age: Option<(Duration, Option<Duration>)>,
        acr: Option<(&'static str, Option<&'static str>)>,
        /// The near cache knows the answer that the store would give.
        is_cached: bool,
        store: Store,
        is_due: bool,
        provider: Confirmation,
        token: TokenState,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Store {
        Unavailable,
        Stranger,
        Person,
    }

    fn worlds() -> Vec<World> {
        let mut all = Vec::new();
        let both = [true, false];
        let ages = [None, Some(Duration::ZERO), Some(MAX_AGE + SKEW), Some(MAX_AGE + SKEW + Duration::SECOND)];
        let max_ages: Vec<_> = [None].into_iter().chain(ages.map(|age| Some((MAX_AGE, age)))).collect();
        let acrs = [None, Some(("mfa", None)), Some(("mfa", Some("password"))), Some(("mfa", Some("mfa")))];
        for (has_route, is_public, is_member) in
            both.into_iter().flat_map(|a| both.into_iter().flat_map(move |b| both.map(move |c| (a, b, c))))
        {
            for (wants_token, is_cached, is_due) in
                both.into_iter().flat_map(|a| both.into_iter().flat_map(move |b| both.map(move |c| (a, b, c))))
            {
                for (max_age, acr) in max_ages.iter().flat_map(|age| acrs.map(|acr| (*age, acr))) {
                    for store in [Store::Unavailable, Store::Stranger, Store::Person] {
                        for provider in
                            [Confirmation::Confirmed, Confirmation::Indeterminate, Confirmation::Unavailable]
                        {
                            for token in [TokenState::AtHand, TokenState::LoginNeeded, TokenState::Unavailable] {
                                all.push(World {
                                    has_route,
                                    is_public,
                                    is_member,
                                    wants_token,
                                    max_age,
                                    acr,
                                    is_cached,
                                    store,
                                    is_due,
                                    provider,
                                    token,
                                });
                            }
                        }
                    }
                }
            }
        }
        all
    }

    impl World {
        fn route(self) -> Option<Route> {
            let groups = vec!["staff".to_owned()];
            let access = AccessRule { public: self.is_public, groups, ..AccessRule::default() };
            self.has_route.then(|| Route {
                max_auth_age: self.max_age.map(|(demanded, _)| demanded),
                pass_access_token: self.wants_token,
                acr: self.acr.into_iter().map(|(demanded, _)| demanded.to_owned()).collect(),
                ..Route::new(PathRule::Prefix(String::new()), access)
            })
        }

        fn identity(self) -> Identity {
            Identity {
                idp: "company".into(),
                issuer: "https://idp.example.test".into(),
                subject: "1".into(),
                name: None,
                preferred_username: None,
                email: None,
                email_verified: false,
                groups: if self.is_member { vec!["staff".into()] } else { Vec::new() },
            }
        }

        /// The store's answer; the near cache knows of nothing but live sessions.
        fn presented(self, identity: &Identity) -> Presented<'_> {
            let at = self.max_age.and_then(|(_, age)| Some(NOW - age?));
            let acr = self.acr.and_then(|(_, acr)| acr);
            match self.store {
                Store::Unavailable => Presented::Unavailable,
                Store::Stranger => Presented::Stranger,
                Store::Person => Presented::Person(identity, Authentication { at, acr }),
            }
        }

        fn due(self) -> Confirmation {
            if self.is_due { Confirmation::Due } else { Confirmation::NotDue }
        }

        fn fast(self) -> Verdict {
            let (route, identity) = (self.route(), self.identity());
            let presented = if self.is_cached { self.presented(&identity) } else { Presented::Unknown };
            let facts = Facts { presented, confirmation: self.due(), token: TokenState::Unasked };
            judge(route.as_ref(), facts, SKEW, || NOW)
        }

        /// Everything is asked, always, whatever the near cache knows.
        fn slow(self) -> Verdict {
            let (route, identity) = (self.route(), self.identity());
            let (presented, token) = (Presented::Unknown, TokenState::Unasked);
            let mut facts = Facts { presented, confirmation: self.due(), token };
            for _ in 0..4 {
                match judge(route.as_ref(), facts, SKEW, || NOW) {
                    Verdict::NeedsStore => facts.presented = self.presented(&identity),
                    Verdict::NeedsRevalidation => facts.confirmation = self.provider,
                    Verdict::NeedsToken => facts.token = self.token,
                    verdict => return verdict,
                }
            }
            panic!("nothing is asked twice: {self:?}");
        }
    }

    /// Exhaustive: whatever the fast path passes the slow path passes too, as the same person.
    #[test]
    fn what_the_fast_path_passes_the_slow_path_passes_with_the_same_caller() {
        let (mut passed, mut asked) = (0, 0);
        for world in worlds() {
            match world.fast() {
                Verdict::Pass(caller) => {
                    passed += 1;
                    assert_eq!(world.slow(), Verdict::Pass(caller), "{world:?}");
                }
                _ => asked += 1,
            }
        }
        assert!(passed > 500 && asked > 5_000, "{passed} {asked}");
    }

    /// A request that passes at once does not if any single fact about it is another.
    #[test]
    fn the_fast_path_looks_at_every_fact() {
        let passes = World {
            has_route: true,
            is_public: false,
            is_member: true,
            wants_token: false,
            max_age: Some((MAX_AGE, Some(MAX_AGE + SKEW))),
            acr: Some(("mfa", Some("mfa"))),
            is_cached: true,
            store: Store::Person,
            is_due: false,
            provider: Confirmation::Confirmed,
            token: TokenState::AtHand,
        };
        assert_eq!(passes.fast(), Verdict::Pass(Caller::Person));
        let too_old = Some((MAX_AGE, Some(MAX_AGE + SKEW + Duration::SECOND)));
        for (world, verdict) in [
            (World { is_cached: false, ..passes }, Verdict::NeedsStore),
            (World { store: Store::Stranger, ..passes }, Verdict::Login(LoginReason::NoSession)),
            (World { store: Store::Unavailable, ..passes }, Verdict::Outage),
            (World { is_due: true, ..passes }, Verdict::NeedsRevalidation),
            (World { wants_token: true, ..passes }, Verdict::NeedsRevalidation),
            (World { has_route: false, ..passes }, Verdict::Forbidden),
            (World { is_member: false, ..passes }, Verdict::Forbidden),
            (World { max_age: too_old, ..passes }, Verdict::Login(LoginReason::Reauthenticate)),
            (World { max_age: Some((MAX_AGE, None)), ..passes }, Verdict::Login(LoginReason::Reauthenticate)),
            (World { acr: Some(("mfa", Some("password"))), ..passes }, Verdict::Login(LoginReason::Reauthenticate)),
            (World { acr: Some(("mfa", None)), ..passes }, Verdict::Login(LoginReason::Reauthenticate)),
        ] {
            assert_eq!(world.fast(), verdict, "{world:?}");
        }
    }

    /// Exhaustive: nobody passes as a person whom the store, the rule, the provider or the token rules out.
    #[test]
    fn a_denial_by_store_rule_provider_or_token_is_final() {
        for world in worlds() {
            let verdict = world.slow();
            let is_asked = world.is_due || world.wants_token;
            let counts = world.store == Store::Person && (!is_asked || world.provider == Confirmation::Confirmed);
            if verdict == Verdict::Pass(Caller::Person) {
                assert!(world.has_route && counts, "{world:?}");
                assert!(world.is_public || world.is_member, "{world:?}");
                assert!(!world.wants_token || world.token == TokenState::AtHand, "{world:?}");
            }
            if verdict == Verdict::Pass(Caller::Stranger) {
                assert!(world.has_route && world.is_public && !counts, "{world:?}");
            }
        }
    }
}
