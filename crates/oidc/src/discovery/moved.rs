//! Detects endpoints whose host changes in a later metadata document, which takes an operator's confirmation.
//!
//! An attacker who controls a provider's metadata for an hour must not receive client secrets, codes, tokens and
//! passwords. So a document that is fetched again and names another host than before for an endpoint is refused as a
//! whole: the old endpoints stay in use, the audit trail says so, `/readyz` has a note. An operator accepts it by
//! SIGHUP or a restart; SIGHUP accepts only what was refused and shown before, since it is sent for other reasons too.
//!
//! All endpoints count: the token, revocation, pushed-request and userinfo endpoints get credentials, codes and tokens;
//! `jwks_uri` decides whose signatures count, and so who can end sessions by logout tokens; browsers are sent to the
//! authorization endpoint, where people type their passwords, and take ID tokens to the end-session endpoint. Paths may
//! change, since they belong to the host. An endpoint that is new has to be where the issuer or the token endpoint is;
//! one that was missing for a while may also return to its old host.

use std::collections::HashMap;
use std::sync::{OnceLock, PoisonError, RwLock};

use url::Url;

use crate::discovery::metadata::Metadata;

/// An endpoint that was to move to another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedEndpoint {
    /// Its name in the metadata.
    pub name: &'static str,
    /// Its old place (scheme, host and port); `None` if it is new.
    pub from: Option<String>,
    /// Its new place, as the document has it.
    pub to: String,
}

/// An observer of endpoints that change their host: the provider, and whether the change was accepted.
pub type MoveObserver = fn(idp: &str, moved: &MovedEndpoint, confirmed: bool);

/// A watch over one provider's endpoints.
#[derive(Debug)]
pub(crate) struct EndpointWatch {
    idp: String,
    observer: OnceLock<MoveObserver>,
    /// The place of the issuer, if it has one.
    issuer: Option<String>,
    /// The moves that are refused now.
    refused: RwLock<Vec<MovedEndpoint>>,
    /// The last host of each endpoint, also of one that is missing now.
    places: RwLock<Places>,
}

type Places = HashMap<&'static str, String>;

impl EndpointWatch {
    pub(crate) fn new(idp: String, issuer: &str) -> Self {
        let issuer = Url::parse(issuer).ok().as_ref().map(place);
        Self { idp, observer: OnceLock::new(), issuer, refused: RwLock::default(), places: RwLock::default() }
    }

    /// Tells `observer` from now on of moves that are refused or taken over. The first observer stays.
    pub(crate) fn report_to(&self, observer: MoveObserver) {
        let _ = self.observer.set(observer);
    }

    /// Returns the endpoints whose move is refused now.
    pub(crate) fn refused(&self) -> Vec<MovedEndpoint> {
        self.refused.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Chooses the metadata to use from now on: the later ones, unless they move an endpoint unconfirmed. Only a move
    /// that was refused before, and so could be seen, can be confirmed; documents that move anything else are refused.
    /// Each move is reported once.
    pub(crate) fn choose(&self, known: &Metadata, later: Metadata, confirmed: bool) -> Metadata {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        remember(&mut places, known);
        let moved = moved_endpoints(known, &later, self.issuer.as_ref(), &places);
        let mut refused = self.refused.write().unwrap_or_else(PoisonError::into_inner);
        let confirmed = confirmed && moved.iter().all(|one| refused.contains(one));
        let is_taken = confirmed || moved.is_empty();
        let before = std::mem::replace(&mut *refused, if is_taken { Vec::new() } else { moved.clone() });
        drop(refused);
        for one in moved.iter().filter(|one| confirmed || !before.contains(one)) {
            if let Some(observer) = self.observer.get() {
                observer(&self.idp, one, confirmed);
            }
        }
        if !is_taken {
            return known.clone();
        }
        // A confirmed move forgets the old hosts: a return to them needs confirmation too.
        if !moved.is_empty() {
            places.clear();
        }
        remember(&mut places, &later);
        later
    }
}

fn remember(places: &mut Places, metadata: &Metadata) {
    places.extend(metadata.endpoints().into_iter().filter_map(|(name, url)| Some((name, place(url?)))));
}

/// Returns the endpoints that are at another host than before. Pure.
fn moved_endpoints(known: &Metadata, later: &Metadata, issuer: Option<&String>, places: &Places) -> Vec<MovedEndpoint> {
    let home = place(&known.token_endpoint);
    let mut moved = Vec::new();
    for ((name, before), (_, after)) in known.endpoints().into_iter().zip(later.endpoints()) {
        let Some(after) = after.map(place) else { continue };
        let stays = match before.map(place) {
            Some(before) => after == before,
            None => [Some(&home), issuer, places.get(name)].contains(&Some(&after)),
        };
        if !stays {
            moved.push(MovedEndpoint { name, from: places.get(name).cloned(), to: after });
        }
    }
    moved
}

fn place(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(changes: &[(&str, Option<&str>)]) -> Metadata {
        let url = |name: &str| {
            let given = changes.iter().find(|(given, _)| *given == name).map(|(_, url)| *url);
            let url = given.unwrap_or_else(|| (name != "revocation_endpoint").then_some("https://idp.test/x"));
            url.map(|url| Url::parse(url).unwrap())
        };
        Metadata {
            authorization_endpoint: url("authorization_endpoint").unwrap(),
            token_endpoint: url("token_endpoint").unwrap(),
            userinfo_endpoint: url("userinfo_endpoint"),
            jwks_uri: url("jwks_uri"),
            end_session_endpoint: url("end_session_endpoint"),
            revocation_endpoint: url("revocation_endpoint"),
            pushed_authorization_request_endpoint: url("pushed_authorization_request_endpoint"),
            pushed_requests_demanded: false,
            response_issuer_promised: false,
            claims_supported: None,
            offers: crate::discovery::offers::Offers::default(),
        }
    }

    /// One line a case: what changes, and whether it is refused. Found by moving each endpoint in every part of its
    /// address, adding it and taking it away.
    #[test]
    fn an_endpoint_stays_at_its_host_until_a_move_is_confirmed() {
        let names = metadata(&[]).endpoints().map(|(name, _)| name);
        for name in names {
            for (url, refused) in [
                ("https://evil.test/x", true),
                ("https://idp.test.evil.test/x", true),
                ("https://idp.test:8443/x", true),
                ("http://idp.test/x", true),
                ("https://idp.test./x", true),
                ("https://idp.test/elsewhere?tenant=1", false),
                ("https://IDP.test:443/x", false),
            ] {
                let watch = EndpointWatch::new("company".to_owned(), "https://issuer.test/realm");
                let known = metadata(&[]);
                let later = || metadata(&[(name, Some(url))]);
                let chosen = watch.choose(&known, later(), false);
                assert_eq!(watch.refused().len(), usize::from(refused), "{name} {url}");
                assert_eq!(chosen, if refused { known.clone() } else { later() }, "{name} {url}");
                assert_eq!(watch.choose(&known, later(), true), later(), "{name} {url}");
                assert!(watch.refused().is_empty(), "{name} {url}");
            }
        }
        for (name, url, refused) in [
            ("revocation_endpoint", Some("https://idp.test/revoke"), false),
            ("revocation_endpoint", Some("https://issuer.test/revoke"), false),
            ("revocation_endpoint", Some("https://evil.test/revoke"), true),
            ("userinfo_endpoint", Some("https://issuer.test/me"), true),
            ("userinfo_endpoint", None, false),
            ("end_session_endpoint", None, false),
        ] {
            let watch = EndpointWatch::new("company".to_owned(), "https://issuer.test/realm");
            watch.choose(&metadata(&[]), metadata(&[(name, url)]), false);
            assert_eq!(!watch.refused().is_empty(), refused, "{name} {url:?}");
        }
    }

    /// One line a case: what the order meets after a move of userinfo was refused and shown, and whether it is taken.
    #[test]
    fn an_order_accepts_only_moves_that_were_shown() {
        let shown = ("userinfo_endpoint", Some("https://new.test/me"));
        for (met, taken) in [
            (&[shown][..], true),
            (&[("userinfo_endpoint", Some("https://new.test/other"))], true),
            (&[("userinfo_endpoint", Some("https://evil.test/me"))], false),
            (&[("token_endpoint", Some("https://evil.test/token"))], false),
            (&[shown, ("jwks_uri", Some("https://evil.test/jwks"))], false),
            (&[], true),
        ] {
            let watch = EndpointWatch::new("company".to_owned(), "https://issuer.test");
            let known = metadata(&[]);
            watch.choose(&known, metadata(&[shown]), false);
            let chosen = watch.choose(&known, metadata(met), true);
            assert_eq!(chosen, if taken { metadata(met) } else { known }, "{met:?}");
            assert_eq!(watch.refused().is_empty(), taken, "{met:?}");
        }
    }

    /// One line a place at which an endpoint comes back that was gone for one document, and whether that is refused.
    #[test]
    fn an_endpoint_that_was_gone_comes_back_to_its_host() {
        let (name, old) = ("userinfo_endpoint", Some("https://api.test/me"));
        for (back, refused) in [
            ("https://api.test/me", false),
            ("https://api.test/v2/me", false),
            ("https://idp.test/me", false),
            ("https://issuer.test/me", false),
            ("https://evil.test/me", true),
        ] {
            let watch = EndpointWatch::new("company".to_owned(), "https://issuer.test");
            let gone = watch.choose(&metadata(&[(name, old)]), metadata(&[(name, None)]), false);
            assert_eq!(gone, metadata(&[(name, None)]));
            watch.choose(&gone, metadata(&[(name, Some(back))]), false);
            assert_eq!(watch.refused().len(), usize::from(refused), "{back}");
        }
    }
}
