//! Which headers cross the proxy, in both directions. Pure functions over header maps.
//!
//! Towards the upstream: what the client could forge goes, in every spelling (R-K01); what concerns one hop
//! only goes (RFC 9110 7.6.1, R-K03); then what the broker knows is set. Back: hop-by-hop fields and attempts to
//! set the broker's cookies go.

use std::fmt::Write;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use crate::guard::current_user::CurrentUser;
use crate::secret::Secret;
use crate::web::client_address::ClientAddress;
use crate::web::cookies::CookiePolicy;
use crate::web::public_url::PublicUrl;
use crate::web::request_id::{self, RequestId};

/// Longest list of groups, in bytes: servers take 8 KiB of headers, some of them all together. A longer one is cut at a
/// whole group, and how many are missing is said beside it.
const LONGEST_VALUE: usize = 4096;

/// Fields of one hop (RFC 9110 7.6.1), beside whatever `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Beginnings of fields that upstreams take for the word of a proxy, in lower case with dashes.
const FORGEABLE_PREFIXES: [&str; 3] = ["x-auth-request-", "x-forwarded-", "x-original-"];
/// Other such fields.
const FORGEABLE: [&str; 7] = [
    "forwarded",
    "x-real-ip",
    "x-rewrite-url",
    "x-client-ip",
    "x-http-method-override",
    "x-method-override",
    "true-client-ip",
];

/// What the upstream learns of the hop in front of it.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// Where the request comes from.
    pub address: ClientAddress,
    /// What the browser calls us.
    pub public_url: &'a PublicUrl,
    /// How our cookies are named.
    pub cookies: &'a CookiePolicy,
    /// The request's name in our log.
    pub request_id: &'a RequestId,
}

/// Makes a client's headers fit for the upstream.
pub fn towards_upstream(headers: &mut HeaderMap, hop: Hop<'_>, user: Option<&CurrentUser>) {
    remove_hop_by_hop(headers);
    let forgeable: Vec<_> = headers.keys().filter(|name| is_forgeable(name.as_str())).cloned().collect();
    for name in forgeable {
        headers.remove(name);
    }
    hop.cookies.remove_from(headers);
    headers.insert(request_id::HEADER, hop.request_id.header_value());
    set(headers, "x-forwarded-for", &hop.address.client.to_string());
    set(headers, "x-real-ip", &hop.address.client.to_string());
    set(headers, "x-forwarded-proto", hop.public_url.scheme());
    set(headers, "x-forwarded-host", hop.public_url.authority());
    if let Some(user) = user {
        set_identity(headers, user);
    }
}

/// Shows an upstream the provider's access token (RFC 6750 2.1), in place of what the client sent there.
///
/// # Errors
/// If the token is nothing that a header can hold.
pub fn set_access_token(headers: &mut HeaderMap, token: &Secret<String>) -> Result<(), InvalidHeaderValue> {
    headers.remove(AUTHORIZATION);
    let mut credentials = HeaderValue::try_from(format!("Bearer {}", token.expose()))?;
    credentials.set_sensitive(true);
    headers.insert(AUTHORIZATION, credentials);
    Ok(())
}

/// Makes an upstream's headers fit for the client.
pub fn towards_client(headers: &mut HeaderMap, cookies: &CookiePolicy, guarded: bool) {
    remove_hop_by_hop(headers);
    let allowed: Vec<_> =
        headers.get_all(SET_COOKIE).iter().filter(|value| !cookies.refuses_from_upstream(value)).cloned().collect();
    headers.remove(SET_COOKIE);
    headers.extend(allowed.into_iter().map(|value| (SET_COOKIE, value)));
    if guarded && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, cache_control_for(headers));
    }
}

/// An upstream that says nothing of caching leaves it to us: pages of a session are not kept, so that the Back
/// button shows nothing after a logout; the rest stays out of shared caches (R-K11).
fn cache_control_for(headers: &HeaderMap) -> HeaderValue {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_static = [&b"text/css"[..], b"text/javascript", b"application/javascript", b"image/", b"font/"];
    if is_static.iter().any(|prefix| kind.starts_with(prefix)) {
        HeaderValue::from_static("private")
    } else {
        HeaderValue::from_static("no-store")
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named.into_iter().chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Whether upstreams may take a field for the broker's own word, however it is spelt: some servers read `_`
/// and `.` as `-`.
fn is_forgeable(name: &str) -> bool {
    let dashed = name.replace(['_', '.'], "-");
    FORGEABLE_PREFIXES.iter().any(|prefix| dashed.starts_with(prefix)) || FORGEABLE.contains(&dashed.as_str())
}

fn set_identity(headers: &mut HeaderMap, user: &CurrentUser) {
    let identity = user.identity();
    let text = |value: Option<&str>| encode(value.unwrap_or_default(), &[]);
    set(headers, "x-auth-request-user", &encode(&identity.subject, &[]));
    set(headers, "x-auth-request-email", &text(identity.verified_email()));
    set(headers, "x-auth-request-preferred-username", &text(identity.preferred_username.as_deref()));
    set(headers, "x-auth-request-name", &text(identity.name.as_deref()));
    let (groups, left_out) = encode_list(&identity.groups);
    set(headers, "x-auth-request-groups", &groups);
    set(headers, "x-auth-request-groups-left-out", &left_out.to_string());
    set(headers, "x-auth-request-session", &user.session().to_string());
}

/// Groups separated by commas, and how many at the end did not fit; a comma inside a group is escaped (R-K05).
fn encode_list(groups: &[String]) -> (String, usize) {
    let mut list = String::new();
    for (place, group) in groups.iter().enumerate() {
        let group = encode(group, b",");
        if list.len() + 1 + group.len() > LONGEST_VALUE {
            let left_out = groups.len() - place;
            tracing::warn!(left_out, "a person's groups do not fit into one header");
            return (list, left_out);
        }
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&group);
    }
    (list, 0)
}

/// Makes a text safe for a header: everything but printable ASCII, and `%` itself, becomes its UTF-8 bytes as
/// `%XX` (R-K05).
fn encode(text: &str, also: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = (byte.is_ascii_graphic() || byte == b' ') && byte != b'%' && !also.contains(&byte);
        if plain {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(HeaderName::from_static(name), value);
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

    fn sent(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        let address = ClientAddress { peer: [127, 0, 0, 1].into(), client: [203, 0, 113, 9].into() };
        let (public_url, cookies, request_id) = (public_url(), cookies(), RequestId::generate());
        let hop = Hop { address, public_url: &public_url, cookies: &cookies, request_id: &request_id };
        towards_upstream(&mut headers, hop, None);
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
            ("Accept", "text/html"),
        ]);
        let mut left: Vec<_> = forged.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                ("accept", "text/html"),
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
        assert_eq!(headers.len(), 5, "{headers:?}");
        assert_eq!(headers["x-forwarded-for"], "203.0.113.9");
    }

    /// R-K05
    #[test]
    fn values_are_made_safe_for_a_header() {
        assert_eq!(encode("a\r\nX-Admin: 1", &[]), "a%0D%0AX-Admin: 1");
        assert_eq!(encode("김 100%", &[]), "%EA%B9%80 100%25");
        assert_eq!(encode_list(&["x,admins".into(), "staff".into()]), ("x%2Cadmins,staff".to_owned(), 0));
    }

    /// R-K05: no group is cut in two, and none is missing without a word.
    #[test]
    fn groups_that_do_not_fit_are_counted() {
        let groups: Vec<_> = (0..150).map(|number| format!("00000000-0000-0000-0000-{number:012}")).collect();
        let (list, left_out) = encode_list(&groups);
        let sent: Vec<_> = list.split(',').collect();
        assert!(list.len() <= LONGEST_VALUE && sent == groups[..150 - left_out]);
        assert_eq!(left_out, 40);
        assert_eq!(encode_list(&groups[..110]).1, 0);
    }

    /// R-H09, R-K11
    #[test]
    fn an_upstream_cannot_set_our_cookies_and_says_how_its_pages_are_kept() {
        let answer = |lines: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
            }
            towards_client(&mut headers, &cookies(), true);
            headers
        };
        let cookies = answer(&[("set-cookie", "__Host-session=evil"), ("set-cookie", "cart=1")]);
        assert_eq!(cookies.get_all("set-cookie").iter().collect::<Vec<_>>(), ["cart=1"]);
        assert_eq!(answer(&[("content-type", "text/html")])["cache-control"], "no-store");
        assert_eq!(answer(&[("content-type", "text/css")])["cache-control"], "private");
        assert_eq!(answer(&[("cache-control", "max-age=60")])["cache-control"], "max-age=60");
    }
}
