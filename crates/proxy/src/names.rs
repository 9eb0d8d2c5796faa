//! Names of header fields that do not cross the proxy: they are taken out by the one `table` and the configuration's
//! [`FieldNames`].
//!
//! Servers that hand a request to an application by environment variables fold names: RFC 3875 4.1.18 makes
//! `-` an underscore, lighttpd and old Apache make one of every byte that is neither letter nor digit, PHP of dots
//! and blanks, Puma swaps `_` and `,`, and frameworks on top drop or double the marks. All of these agree on the
//! letters and digits, so these alone are compared, and no mark tells two names apart.

mod field_names;
mod openings;
mod table;

use http::header::{HeaderMap, HeaderName};
use smallvec::SmallVec;

pub use self::field_names::{FieldNames, InvalidFieldName};
use self::field_names::{Folded, fold, fold_into};
use self::openings::Openings;
pub use self::table::{ANSWER, REQUEST};
use self::table::{IN_ONE_SPELLING, OF_ONE_HOP};

/// The names that are taken out of requests and answers: the built-in ones, and those of the configuration.
#[derive(Debug, Clone)]
pub struct StrippedNames {
    of_requests: Strip,
    of_answers: Strip,
}

impl Default for StrippedNames {
    fn default() -> Self {
        Self::new(FieldNames::default(), FieldNames::default())
    }
}

impl StrippedNames {
    /// The built-in names, and these.
    pub fn new(more_of_requests: FieldNames, more_of_answers: FieldNames) -> Self {
        Self {
            of_requests: Strip::new(&[REQUEST, OF_ONE_HOP], more_of_requests, IN_ONE_SPELLING),
            of_answers: Strip::new(&[ANSWER, OF_ONE_HOP], more_of_answers, &[]),
        }
    }

    /// Takes them out of a request.
    pub fn remove_from_request(&self, headers: &mut HeaderMap) {
        self.of_requests.remove_from(headers);
    }

    /// Takes them out of an answer.
    pub fn remove_from_answer(&self, headers: &mut HeaderMap) {
        self.of_answers.remove_from(headers);
    }
}

/// The names that are taken out in one direction.
#[derive(Debug, Clone)]
struct Strip {
    names: FieldNames,
    /// Names that cross in their own spelling alone.
    in_one_spelling: &'static [&'static str],
    /// All of these once more: most fields of a message are none of them at the first look.
    openings: Openings,
}

impl Strip {
    fn new(tables: &[&[&str]], more: FieldNames, in_one_spelling: &'static [&'static str]) -> Self {
        let names = FieldNames::built_in(tables).with(more);
        let mut openings = Openings::default();
        for (name, is_beginning) in names.folded() {
            openings.add(name, is_beginning);
        }
        for name in in_one_spelling {
            openings.add(&fold(name), false);
        }
        Self { names, in_one_spelling, openings }
    }

    fn remove_from(&self, headers: &mut HeaderMap) {
        let mut folded = Folded::new();
        let is_removed = |name: &&HeaderName| {
            let text = name.as_str();
            self.openings.may_hold(text) && {
                fold_into(text, &mut folded);
                let is_misspelt =
                    || !self.in_one_spelling.contains(&text) && is_misspelt(&folded, self.in_one_spelling);
                self.names.takes(name, &folded) || is_misspelt()
            }
        };
        let removed: SmallVec<[HeaderName; 8]> = headers.keys().filter(is_removed).cloned().collect();
        for name in removed {
            headers.remove(name);
        }
    }
}

/// Is true if a name in another spelling, which is given folded, is one of these to some servers.
fn is_misspelt(folded: &[u8], names: &[&str]) -> bool {
    names.iter().any(|known| known.bytes().filter(|byte| *byte != b'-').eq(folded.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn left(strip: &StrippedNames, names: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_static("x"));
        }
        strip.remove_from_request(&mut headers);
        headers.keys().map(|name| name.as_str().to_owned()).collect()
    }

    /// R-K01, R-K04. Every byte that a name may hold beside letters and digits (RFC 9110 5.6.2) stands between the
    /// words, doubled, in front and behind: `~` is what was seen to pass; the others are the rest of the grammar.
    #[test]
    fn no_mark_between_the_words_of_a_name_saves_it() {
        let strip = StrippedNames::default();
        for name in REQUEST.iter().chain(OF_ONE_HOP) {
            for mark in "!#$%&'*+-.^_`|~".chars() {
                let marked = name.replace('*', "-any").replace('-', &mark.to_string());
                let doubled = marked.replace(mark, &format!("{mark}{mark}"));
                let bare = marked.replace(mark, "");
                let around = [format!("{mark}{marked}"), format!("{marked}{mark}"), marked.to_uppercase()];
                for spelling in [marked, doubled, bare].into_iter().chain(around) {
                    assert!(left(&strip, &[&spelling]).is_empty(), "{spelling} for {name}");
                }
            }
        }
    }

    /// Fields that applications and browsers send of their own; the first share a beginning with a name of the table.
    #[test]
    fn what_no_proxy_is_supposed_to_write_crosses() {
        let own = [
            "x-auth-token",
            "x-auth-key",
            "x-user-id",
            "x-realm",
            "x-origin",
            "x-remote-control",
            "proxy-mode",
            "remote-control",
            "forward",
            "x-hosts",
            "authorization",
            "content-type",
            "content-length",
            "cookie",
            "x-csrf-token",
            "x-requested-with",
            "traceparent",
            "if-none-match",
            "via",
            "dav",
            "x-goog-api-key",
            "x-amz-date",
            "x-session-background",
        ];
        for name in own {
            assert_eq!(left(&StrippedNames::default(), &[name]), [name]);
        }
    }

    /// Found among servers that read `_` as `-`: a second length, a second host.
    #[test]
    fn a_name_that_reads_as_a_framing_field_crosses_in_its_own_spelling_alone() {
        let twins = [
            "content_length",
            "content.length",
            "transfer_encoding",
            "contentlength",
            "ho-st",
            "co_okie",
            "content~type",
        ];
        assert!(left(&StrippedNames::default(), &twins).is_empty());
    }

    #[test]
    fn the_configuration_adds_names_and_beginnings_of_names() {
        let more = FieldNames::parse(&["X-Department-*".into(), "Employee".into()]).unwrap();
        let strip = StrippedNames::new(more, FieldNames::default());
        assert!(left(&strip, &["x_department_head", "EMPLOYEE", "e-m-ployee"]).is_empty());
        assert_eq!(left(&strip, &["x-depart"]), ["x-depart"]);
        assert_eq!(left(&strip, &["employees"]), ["employees"]);
        let more = FieldNames::parse(&["Auth*".into(), "Cookie".into(), "Range".into()]).unwrap();
        let strip = StrippedNames::new(more, FieldNames::default());
        assert!(left(&strip, &["authorization", "cookie", "range", "ran-ge"]).is_empty());
        let kept = FieldNames::parse(&["!X-HTTP-Method-Override".into()]).unwrap();
        let strip = StrippedNames::new(kept, FieldNames::default());
        assert_eq!(left(&strip, &["X-HTTP-Method-Override", "X_HTTP_Method_Override"]), ["x-http-method-override"]);
        for bad in [
            "Transfer_Encoding",
            "!X-Auth-Request-User",
            "!x_forwarded_for",
            "!X-Request-Id",
            "!Connection",
            "!",
            "!x-*",
            "",
            "*",
            "a b",
            "x:*",
            "**",
            "Host",
            "content-*",
            "-",
        ] {
            assert!(FieldNames::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
