//! The headers that cross the proxy, in both directions. Pure functions over header maps.
//!
//! Towards the upstream: what the client could forge goes, in every spelling (R-K01, [`super::names`]); what concerns
//! one hop only goes (RFC 9110 7.6.1, R-K03); then what the broker knows is set. Back: hop-by-hop fields, what no upstream
//! says in our stead, and attempts to set the broker's cookies go.

use std::fmt::Write;

use http::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue, SET_COOKIE};

use crate::names::StrippedNames;
use counterfoil_core::secret::Secret;
use counterfoil_guard::client_address::ClientAddress;
use counterfoil_guard::cookies::CookiePolicy;
use counterfoil_guard::current_user::CurrentUser;
use counterfoil_guard::public_url::PublicUrl;
use counterfoil_guard::request_id::{self, RequestId};

/// Longest list of groups, in bytes: servers take 8 KiB of headers, some of them all together. A longer one is cut at a
/// whole group, and how many are missing is said beside it.
const LONGEST_VALUE: usize = 4096;

/// The hop in front of the upstream, as the upstream learns of it.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The address that the request comes from.
    pub address: ClientAddress,
    /// The browser's address for us.
    pub public_url: &'a PublicUrl,
    /// The names of our cookies.
    pub cookies: &'a CookiePolicy,
    /// The request's name in our log.
    pub request_id: &'a RequestId,
    /// The names that do not cross.
    pub stripped: &'a StrippedNames,
}

/// Makes a client's headers fit for the upstream.
pub fn towards_upstream(headers: &mut HeaderMap, hop: Hop<'_>, user: Option<&CurrentUser>) {
    remove_nominated(headers);
    hop.stripped.remove_from_request(headers);
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
pub fn towards_client(headers: &mut HeaderMap, cookies: &CookiePolicy, stripped: &StrippedNames) {
    remove_nominated(headers);
    stripped.remove_from_answer(headers);
    let allowed: Vec<_> =
        headers.get_all(SET_COOKIE).iter().filter(|value| !cookies.refuses_from_upstream(value)).cloned().collect();
    headers.remove(SET_COOKIE);
    headers.extend(allowed.into_iter().map(|value| (SET_COOKIE, value)));
}

/// Takes out what `Connection` names as concerning this hop only.
fn remove_nominated(headers: &mut HeaderMap) {
    let nominated: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in nominated {
        headers.remove(name);
    }
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

/// Groups separated by commas, and how many at the end did not fit. A comma inside a group is escaped, and so is a
/// quotation mark, which makes readers of lists (RFC 9110 5.6.4) take what follows for one element (R-K05).
fn encode_list(groups: &[String]) -> (String, usize) {
    let mut list = String::new();
    // A group without a name is none: in a list it could not be told from no group at all.
    let groups: Vec<_> = groups.iter().filter(|group| !group.is_empty()).collect();
    for (place, group) in groups.iter().enumerate() {
        let group = encode(group, b",\"");
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
/// `%XX` (R-K05). So do blanks at the edges, which every reader of a header takes away (RFC 9110 5.5): two texts never
/// arrive as one.
fn encode(text: &str, also: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    let inner = text.len() - text.trim_start_matches(' ').len()..text.trim_end_matches(' ').len();
    for (place, byte) in text.bytes().enumerate() {
        let plain = byte.is_ascii_graphic() || byte == b' ' && inner.contains(&place);
        if plain && byte != b'%' && !also.contains(&byte) {
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
        let stripped = StrippedNames::default();
        let hop =
            Hop { address, public_url: &public_url, cookies: &cookies, request_id: &request_id, stripped: &stripped };
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
            ("x_request_id", "forged"),
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

    /// R-K05: what a reader gets is what was meant, and nobody else's. One line a case, beside its twin: a blank in front is
    /// what was seen; the others were found by asking what readers of headers and of lists take away or take together.
    #[test]
    fn two_people_never_arrive_under_one_name() {
        let one = |text: &str| encode(text, &[]);
        let list = |groups: &[&str]| encode_list(&groups.iter().map(|&group| group.to_owned()).collect::<Vec<_>>()).0;
        for (sent, expected) in [
            (one("alice"), "alice"),
            (one(" alice"), "%20alice"),
            (one("alice  "), "alice%20%20"),
            (one("Alice  Kim"), "Alice  Kim"),
            (one("   "), "%20%20%20"),
            (one("\talice"), "%09alice"),
            (one("\u{a0}alice"), "%C2%A0alice"),
            (one("%20alice"), "%2520alice"),
            (list(&["admin "]), "admin%20"),
            (list(&["staff", " admin"]), "staff,%20admin"),
            (list(&["a b", "c"]), "a b,c"),
            (list(&["\"a", "b\""]), "%22a,b%22"),
            (list(&["", "a", ""]), "a"),
        ] {
            assert_eq!(sent, expected);
            assert_eq!(sent.trim(), sent);
        }
    }

    fn answered(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        towards_client(&mut headers, &cookies(), &StrippedNames::default());
        headers
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
