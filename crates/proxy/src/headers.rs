//! The headers that cross the proxy, in both directions. Pure functions over header maps.
//!
//! Towards the upstream: fields that the client could forge are removed, in every spelling (R-K01, [`super::names`]),
//! and so are hop-by-hop fields (RFC 9110 7.6.1, R-K03); then the broker's own fields are set. Towards the client:
//! hop-by-hop fields, fields reserved for the broker, and `Set-Cookie` for the broker's cookies are removed.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LOCATION, HOST, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue,
    LOCATION, SET_COOKIE,
};

use crate::identity::IdentityHeaders;
use crate::names::StrippedNames;
use crate::paths::PathMap;
use counterfoil_core::secret::Secret;
use counterfoil_guard::client_address::ClientAddress;
use counterfoil_guard::cookies::CookiePolicy;
use counterfoil_guard::public_url::PublicUrl;
use counterfoil_guard::request_id::{self, RequestId};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Most fields that are added to a request: room is made for them at once.
const MOST_ADDED: usize = 16;

/// The hop in front of the upstream, as the upstream learns of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hop<'a> {
    /// The address that the request comes from.
    pub address: ClientAddress,
    /// The browser's address for us.
    pub public_name: &'a PublicName,
    /// The names of our cookies.
    pub cookies: &'a CookiePolicy,
    /// The request's name in our log.
    pub request_id: &'a RequestId,
    /// The names that do not cross.
    pub stripped: &'a StrippedNames,
    /// The application's paths, if they are others than the browser's.
    pub paths: Option<&'a PathMap>,
}

/// The browser's address for us, as upstreams are told it.
#[derive(Debug, Clone)]
pub(crate) struct PublicName {
    scheme: HeaderValue,
    authority: HeaderValue,
}

impl PublicName {
    /// The name in a public URL.
    ///
    /// # Errors
    /// If it is nothing that a header can hold.
    pub(crate) fn new(public_url: &PublicUrl) -> Result<Self, InvalidHeaderValue> {
        Ok(Self { scheme: public_url.scheme().parse()?, authority: public_url.authority().parse()? })
    }

    /// Host and port, as in `Host`.
    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.authority
    }
}

/// Rewrites a client's headers for the upstream.
pub(crate) fn towards_upstream(headers: &mut HeaderMap, hop: Hop<'_>, identity: Option<&IdentityHeaders>) {
    remove_nominated(headers);
    hop.stripped.remove_from_request(headers);
    hop.cookies.remove_from(headers);
    headers.reserve(MOST_ADDED);
    let PublicName { scheme, authority } = hop.public_name;
    headers.insert(request_id::HEADER, hop.request_id.header_value());
    let client = HeaderValue::try_from(hop.address.client.to_string()).unwrap_or(HeaderValue::from_static(""));
    headers.insert(X_FORWARDED_FOR, client.clone());
    headers.insert(X_REAL_IP, client);
    headers.insert(X_FORWARDED_PROTO, scheme.clone());
    headers.insert(X_FORWARDED_HOST, authority.clone());
    // In its one spelling: applications build links with it.
    headers.insert(HOST, authority.clone());
    // The client's own has gone with the other forwarding fields.
    let prefix = hop.paths.map(PathMap::public).filter(|prefix| !prefix.is_empty());
    headers.extend(prefix.and_then(|prefix| Some((X_FORWARDED_PREFIX, HeaderValue::try_from(prefix).ok()?))));
    if let Some(identity) = identity {
        identity.set(headers);
    }
}

/// Shows an upstream the provider's access token (RFC 6750 2.1), in place of what the client sent there.
///
/// # Errors
/// If the token is nothing that a header can hold.
pub(crate) fn set_access_token(headers: &mut HeaderMap, token: &Secret<String>) -> Result<(), InvalidHeaderValue> {
    headers.remove(AUTHORIZATION);
    let mut credentials = HeaderValue::try_from(format!("Bearer {}", token.expose()))?;
    credentials.set_sensitive(true);
    headers.insert(AUTHORIZATION, credentials);
    Ok(())
}

/// Rewrites an upstream's headers for the client.
pub(crate) fn towards_client(headers: &mut HeaderMap, hop: Hop<'_>) {
    remove_nominated(headers);
    hop.stripped.remove_from_answer(headers);
    if headers.get_all(SET_COOKIE).iter().any(|value| hop.cookies.refuses_from_upstream(value)) {
        replace_cookies(headers, |value| (!hop.cookies.refuses_from_upstream(value)).then(|| value.clone()));
    }
    if let Some(paths) = hop.paths {
        let authority = hop.public_name.authority.to_str().unwrap_or_default();
        for name in [LOCATION, CONTENT_LOCATION] {
            if let Some(address) = headers.get(&name).and_then(|value| paths.location(value, authority)) {
                headers.insert(name, address);
            }
        }
        replace_cookies(headers, |value| Some(paths.cookie(value).unwrap_or_else(|| value.clone())));
    }
}

/// Replaces each `Set-Cookie`, or takes it out.
fn replace_cookies(headers: &mut HeaderMap, replaced: impl Fn(&HeaderValue) -> Option<HeaderValue>) {
    let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().filter_map(replaced).collect();
    headers.remove(SET_COOKIE);
    headers.extend(cookies.into_iter().map(|value| (SET_COOKIE, value)));
}

/// Takes out what `Connection` names as concerning this hop only.
fn remove_nominated(headers: &mut HeaderMap) {
    let nominated: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        // No fields, or one that is taken out by its name.
        .filter(|name| !["keep-alive", "close"].iter().any(|option| name.eq_ignore_ascii_case(option.as_bytes())))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    for name in nominated {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies() -> CookiePolicy {
        CookiePolicy::new(&public_url(), None)
    }

    fn public_url() -> PublicUrl {
        PublicUrl::parse("https://a.example").unwrap()
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        headers
    }

    /// Calls a function with a hop whose application has these paths.
    fn across(paths: Option<&PathMap>, call: impl FnOnce(Hop<'_>)) {
        let address = ClientAddress { peer: [127, 0, 0, 1].into(), client: [203, 0, 113, 9].into() };
        let (public_name, cookies) = (&PublicName::new(&public_url()).unwrap(), &cookies());
        let (request_id, stripped) = (&RequestId::generate(), &StrippedNames::default());
        call(Hop { address, public_name, cookies, request_id, stripped, paths });
    }

    fn sent(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = headers(lines);
        across(None, |hop| towards_upstream(&mut headers, hop, None));
        headers
    }

    /// R-K01, R-K02, R-K04: also for strangers on public routes, which this is.
    #[test]
    fn identity_and_forwarding_headers_of_the_client_are_removed_in_every_spelling() {
        let forged = sent(&[
            ("X-Auth-Request-User", "root"),
            ("x_auth_request_user", "root"),
            ("X-Auth.Request-Groups", "security"),
            ("x-auth-request-assertion", "x"),
            ("X-Forwarded-For", "6.6.6.6"),
            ("X_Forwarded_Prefix", "/x"),
            ("X-Original-URI", "/admin"),
            ("Forwarded", "for=6.6.6.6"),
            ("X-Rewrite-URL", "/admin"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("X-Request-Id", "forged"),
            ("x_request_id", "forged"),
            ("Accept", "text/html"),
        ]);
        let mut left: Vec<_> = forged.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                ("accept", "text/html"),
                ("host", "a.example"),
                ("x-forwarded-for", "203.0.113.9"),
                ("x-forwarded-host", "a.example"),
                ("x-forwarded-proto", "https"),
                ("x-real-ip", "203.0.113.9"),
                ("x-request-id", forged["x-request-id"].to_str().unwrap()),
            ]
        );
    }

    /// R-K03
    #[test]
    fn hop_by_hop_fields_go_before_ours_are_set() {
        let headers = sent(&[
            ("Connection", "close, X-Secret-Hop, X-Forwarded-For, x-real-ip, x-request-id"),
            ("X-Secret-Hop", "1"),
            ("Upgrade", "h2c"),
            ("TE", "trailers"),
            ("Keep-Alive", "1"),
            ("Proxy-Authorization", "Basic x"),
        ]);
        assert_eq!(headers.len(), 6, "{headers:?}");
        assert_eq!(headers["x-forwarded-for"], "203.0.113.9");
    }

    fn answered(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = headers(lines);
        across(None, |hop| towards_client(&mut headers, hop));
        headers
    }

    /// R-K04: a stranger's prefix is not believed, and one that is taken off is told.
    #[test]
    fn a_prefix_is_told_to_the_application_and_taken_from_nobody() {
        let paths = PathMap::new("/grafana", "").unwrap();
        let forged = [("X-Forwarded-Prefix", "/evil"), ("x_forwarded_prefix", "/evil"), ("X-Script-Name", "/evil")];
        let mut headers = headers(&forged);
        across(Some(&paths), |hop| towards_upstream(&mut headers, hop, None));
        assert_eq!(headers.get_all("x-forwarded-prefix").iter().collect::<Vec<_>>(), ["/grafana"]);
        assert!(!format!("{headers:?}").contains("evil"));
        assert!(!sent(&forged).contains_key("x-forwarded-prefix"));
    }

    #[test]
    fn paths_in_an_answer_are_the_browsers() {
        let paths = PathMap::new("/grafana", "").unwrap();
        let mut headers = headers(&[
            ("location", "/login"),
            ("content-location", "https://a.example/d.json"),
            ("set-cookie", "a=1; Path=/"),
            ("set-cookie", "__Host-session=evil; Path=/"),
            ("set-cookie", "b=1"),
        ]);
        across(Some(&paths), |hop| towards_client(&mut headers, hop));
        assert_eq!(
            (&headers["location"], &headers["content-location"]),
            (
                &HeaderValue::from_static("/grafana/login"),
                &HeaderValue::from_static("https://a.example/grafana/d.json"),
            )
        );
        assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1; Path=/grafana", "b=1"]);
    }

    /// R-H09
    #[test]
    fn an_upstream_cannot_set_our_cookies() {
        let headers = answered(&[("set-cookie", "__Host-session=evil"), ("set-cookie", "cart=1")]);
        assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["cart=1"]);
    }

    /// The first three were seen; the rest was found by asking what holds for an origin as a whole, and what servers in front
    /// obey instead of passing on. Below: what an application says of itself.
    #[test]
    fn an_upstream_does_not_speak_for_the_broker() {
        for name in [
            "X-Auth-Request-User",
            "Clear-Site-Data",
            "X-CSRF-Token",
            "X_Auth_Request_Groups",
            "Alt-Svc",
            "NEL",
            "X-Accel-Redirect",
            "X-Sendfile",
            "X-Reproxy-URL",
            "Proxy-Authenticate",
            "Proxy-Authentication-Info",
        ] {
            assert!(answered(&[(name, "x")]).is_empty(), "{name}");
        }
        for name in ["Content-Security-Policy", "X-Accel-Buffering", "WWW-Authenticate", "Location", "X-Robots-Tag"] {
            assert_eq!(answered(&[(name, "x")]).len(), 1, "{name}");
        }
    }
}
