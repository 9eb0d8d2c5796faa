//! The headers that identify the person to an upstream, made once for a session.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use counterfoil_guard::current_user::CurrentUser;
use counterfoil_session::key::SessionHandle;

/// Longest list of groups, in bytes: servers take 8 KiB of headers, some of them all together. A longer one is cut at a
/// whole group, and how many are missing is said beside it.
const LONGEST_VALUE: usize = 4096;

/// Most sessions whose warning is remembered. Beyond that a warning may be repeated.
const MOST_REMEMBERED: usize = 10_000;

/// The headers that tell an upstream who asks.
#[derive(Debug)]
pub(crate) struct IdentityHeaders {
    fields: Vec<(HeaderName, HeaderValue)>,
    left_out: usize,
}

impl IdentityHeaders {
    /// Those of a session; made once for each.
    pub(crate) fn of(user: &CurrentUser) -> Arc<Self> {
        user.derived(Self::new)
    }

    fn new(user: &CurrentUser) -> Self {
        let identity = user.identity();
        let text = |value: Option<&str>| encode(value.unwrap_or_default(), &[]);
        let (groups, left_out) = encode_list(&identity.groups);
        let fields = [
            ("x-auth-request-user", encode(&identity.subject, &[])),
            ("x-auth-request-email", text(identity.verified_email())),
            ("x-auth-request-preferred-username", text(identity.preferred_username.as_deref())),
            ("x-auth-request-name", text(identity.name.as_deref())),
            ("x-auth-request-groups", groups),
            ("x-auth-request-groups-left-out", left_out.to_string()),
            ("x-auth-request-session", user.session().to_string()),
        ];
        let fields = fields
            .into_iter()
            .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?)));
        Self { fields: fields.collect(), left_out }
    }

    /// The number of groups that did not fit.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }

    /// Sets them in a request that goes to an upstream.
    pub(crate) fn set(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.fields {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Warns of sessions whose groups do not fit into one header, of each once.
#[derive(Debug, Default)]
pub(crate) struct GroupWarnings(Mutex<HashSet<SessionHandle>>);

impl GroupWarnings {
    /// Warns, if there is reason to and it was not done yet.
    pub(crate) fn warn_once(&self, identity: &IdentityHeaders, user: &CurrentUser) {
        let left_out = identity.left_out();
        if left_out > 0 && self.is_first(user.session()) {
            tracing::warn!(session = %user.session(), left_out, "a person's groups do not fit into one header");
        }
    }

    fn is_first(&self, session: SessionHandle) -> bool {
        let mut warned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() >= MOST_REMEMBERED && !warned.contains(&session) {
            warned.clear();
        }
        warned.insert(session)
    }
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
            return (list, groups.len() - place);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// R-K05
    #[test]
    fn values_are_made_safe_for_a_header() {
        assert_eq!(encode("a\r\nX-Admin: 1", &[]), "a%0D%0AX-Admin: 1");
        assert_eq!(encode("김 100%", &[]), "%EA%B9%80 100%25");
        assert_eq!(encode_list(&["x,admins".into(), "staff".into()]), ("x%2Cadmins,staff".to_owned(), 0));
    }

    /// R-K05: no group is cut in two, and the number of missing ones is reported.
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
}
