//! Names of header fields that do not cross the proxy: the one table, and how names are compared with it.
//!
//! Servers that hand a request to an application by environment variables fold names: RFC 3875 4.1.18 makes
//! `-` an underscore, lighttpd and old Apache make one of every byte that is neither letter nor digit, PHP of dots
//! and blanks, Puma swaps `_` and `,`, and frameworks on top drop or double the marks. All of these agree on the
//! letters and digits, so these alone are compared, and no mark tells two names apart.

use http::header::{HeaderMap, HeaderName};

/// Request fields that some application believes, because a proxy is supposed to have written them. `*` stands for any
/// ending.
pub const REQUEST: &[&str] = &[
    // The person who asks, in the words of this broker and of other proxies.
    "x-auth-request-*",
    "x-user",
    "x-email",
    "x-access-token",
    "x-jwt-assertion",
    "x-proxy-user",
    "x-proxy-remote-user",
    "kubeflow-userid",
    "remote-user",
    "remote-name",
    "remote-email",
    "remote-group*",
    "x-remote-user*",
    "x-remote-group*",
    "x-remote-extra-*",
    "x-remote-name",
    "x-remote-email",
    "auth-user",
    "x-auth-user*",
    "x-auth-email",
    "x-auth-name",
    "x-auth-group*",
    "x-auth-role*",
    "x-auth-subject",
    "x-webauth-*",
    "x-authenticated-*",
    "x-authentik-*",
    "x-consumer-*",
    "x-credential-identifier",
    "x-anonymous-consumer",
    "x-userinfo",
    "x-pomerium-*",
    "x-vouch-*",
    "oidc-*",
    "x-oidc-*",
    "shib-*",
    "eppn",
    "tailscale-user-*",
    "cf-access-*",
    "x-goog-authenticated-user-*",
    "x-goog-iap-*",
    "x-appengine-*",
    "x-endpoint-api-userinfo",
    "x-apigateway-api-userinfo",
    "x-amzn-oidc-*",
    "x-ms-client-principal*",
    "x-ms-token-*",
    "iv-user*",
    "iv-groups",
    "iv-creds",
    "sm-user*",
    "sm-universalid",
    "oam-remote-user*",
    "osso-*",
    // The name by which the broker's log knows the request.
    "x-request-id",
    // The certificate that the client has shown (RFC 9440, and before it).
    "client-cert*",
    "x-client-cert*",
    "x-client-verify",
    "x-client-dn",
    "x-client-cn",
    "ssl-client-*",
    "x-ssl*",
    "x-arr-clientcert",
    // The request's origin, and its way here (RFC 7239, and before it).
    "forwarded",
    "forwarded-*",
    "x-forwarded*",
    "x-real-ip",
    "x-real-port",
    "x-real-proto",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-remote-addr*",
    "x-remote-ip",
    "remote-addr*",
    "client-ip",
    "proxy-client-ip",
    "wl-proxy-*",
    "true-client-ip",
    "cf-connecting-ip*",
    "cf-pseudo-ipv4",
    "cf-ipcountry",
    "cf-visitor",
    "cloudfront-viewer-address",
    "cloudfront-forwarded-proto",
    "do-connecting-ip",
    "fastly-client-ip",
    "fastly-ssl",
    "fly-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-envoy-*",
    "x-originating-ip",
    "x-vercel-forwarded-for",
    "x-vercel-ip-*",
    "x-proxyuser-ip",
    "x-scheme",
    "x-url-scheme",
    "x-proto",
    "x-https",
    "front-end-https",
    "x-arr-ssl",
    // The target of the request, in place of the request line and `Host`.
    "x-original-*",
    "x-rewrite-url",
    "x-http-method*",
    "x-method-override",
    "x-host",
    "x-http-host-override",
    "x-script-name",
    "x-invoke-*",
    "x-middleware-subrequest*",
    // Orders to a server: the variable HTTP_PROXY of CGI programs, and the file that it sends.
    "proxy",
    "x-sendfile-type",
    "x-accel-mapping",
];

/// Answer fields that upstreams do not say to browsers, or to a proxy in front, in the broker's stead.
pub const ANSWER: &[&str] = &[
    // A person's name, and the token of the broker's own forms.
    "x-auth-request-*",
    "x-csrf-token",
    // Rules for the whole origin: the session's cookie with it, its address, where its faults are reported.
    "clear-site-data",
    "alt-svc",
    "nel",
    // Orders that servers in front obey instead of sending the answer.
    "x-accel-redirect",
    "x-sendfile",
    "x-lighttpd-send-file",
    "x-lighttpd-send-tempfile",
    "x-reproxy-file",
    "x-reproxy-url",
];

/// Fields of one hop (RFC 9110 7.6.1), beside whatever `Connection` names, and those that frame a message: written anew
/// for each hop, so that no other spelling of one crosses either.
const OF_ONE_HOP: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that cross in their own spelling alone: another one is read as theirs by some servers and not by others.
const IN_ONE_SPELLING: &[&str] =
    &["authorization", "content-encoding", "content-length", "content-type", "cookie", "expect", "host", "range"];

/// Fields that the broker writes itself, which no configuration takes away.
const WRITTEN_BY_THE_BROKER: &[&str] = &["connection", "content-length", "host", "transfer-encoding"];

/// Beginnings, folded, of the fields by which the broker itself speaks to upstreams.
const WORD_OF_THE_BROKER: &[&str] = &["xauthrequest", "xforwarded", "forwarded", "xrealip", "xrequestid"];

/// A set of names, compared by their letters and digits. Both lists are sorted; no beginning begins another.
#[derive(Debug, Clone, Default)]
pub struct FieldNames {
    whole: Vec<String>,
    beginnings: Vec<String>,
    /// Built-in names that cross all the same, in this very spelling.
    kept: Vec<HeaderName>,
}

/// The reason that a text is no name in a list of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFieldName {
    /// Not a token (RFC 9110 5.1).
    #[error(
        "must hold names of header fields, such as X-Department, or beginnings of names, such as X-Department-*: {0}"
    )]
    NotAName(String),
    /// A field without which nothing can be forwarded.
    #[error("must not hold {0}: the broker writes it itself")]
    Needed(String),
    /// A field that only the broker may write is to be let through.
    #[error("must not let {0} through: upstreams believe it, and a client could write it")]
    Guarded(String),
}

impl FieldNames {
    /// Reads names and beginnings of names (`X-Department-*`) from a configuration. `!X-CSRF-Token` lets a name of the
    /// built-in table through, in this spelling alone.
    ///
    /// # Errors
    /// [`InvalidFieldName`], for the first that cannot be one.
    pub fn parse(texts: &[String]) -> Result<Self, InvalidFieldName> {
        let mut names = Self::default();
        for text in texts {
            if let Some(kept) = text.strip_prefix('!') {
                names.kept.push(kept_name(kept)?);
                continue;
            }
            let name = text.strip_suffix('*').unwrap_or(text);
            let folded = fold(name);
            if HeaderName::try_from(name).is_err() || name.contains('*') || folded.is_empty() {
                return Err(InvalidFieldName::NotAName(text.clone()));
            }
            let is_beginning = name.len() < text.len();
            let is_needed = |needed: &&&str| {
                let needed = fold(needed);
                needed == folded || is_beginning && needed.starts_with(&folded)
            };
            if let Some(needed) = WRITTEN_BY_THE_BROKER.iter().find(is_needed) {
                return Err(InvalidFieldName::Needed((*needed).to_owned()));
            }
            names.add(text);
        }
        Ok(names.sorted())
    }

    fn built_in(tables: &[&[&str]]) -> Self {
        let mut names = Self::default();
        tables.iter().copied().flatten().for_each(|name| names.add(name));
        names
    }

    fn add(&mut self, name: &str) {
        match name.strip_suffix('*') {
            Some(beginning) => self.beginnings.push(fold(beginning)),
            None => self.whole.push(fold(name)),
        }
    }

    fn with(mut self, more: Self) -> Self {
        self.whole.extend(more.whole);
        self.beginnings.extend(more.beginnings);
        self.kept.extend(more.kept);
        self.sorted()
    }

    fn sorted(mut self) -> Self {
        self.whole.sort_unstable();
        self.beginnings.sort_unstable();
        // A name that a shorter beginning covers stands right behind it.
        self.beginnings.dedup_by(|next, kept| next.starts_with(kept.as_str()));
        self
    }

    fn takes(&self, name: &HeaderName, folded: &str) -> bool {
        self.contains(folded) && !self.kept.contains(name)
    }

    fn contains(&self, folded: &str) -> bool {
        // The only beginning that can fit is the last one that is not greater.
        let behind = self.beginnings.partition_point(|beginning| beginning.as_str() <= folded);
        let begins = behind > 0 && folded.starts_with(self.beginnings[behind - 1].as_str());
        begins || self.whole.binary_search_by(|whole| whole.as_str().cmp(folded)).is_ok()
    }
}

/// The names that are taken out of requests and answers: the built-in ones, and those of the configuration.
#[derive(Debug, Clone)]
pub struct StrippedNames {
    of_requests: FieldNames,
    of_answers: FieldNames,
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
            of_requests: FieldNames::built_in(&[REQUEST, OF_ONE_HOP]).with(more_of_requests),
            of_answers: FieldNames::built_in(&[ANSWER, OF_ONE_HOP]).with(more_of_answers),
        }
    }

    /// Takes them out of a request.
    pub fn remove_from_request(&self, headers: &mut HeaderMap) {
        remove_where(headers, |name, folded| {
            self.of_requests.takes(name, folded) || is_misspelt(name.as_str(), folded, IN_ONE_SPELLING)
        });
    }

    /// Takes them out of an answer.
    pub fn remove_from_answer(&self, headers: &mut HeaderMap) {
        remove_where(headers, |name, folded| self.of_answers.takes(name, folded));
    }
}

/// A name that a configuration lets through.
fn kept_name(text: &str) -> Result<HeaderName, InvalidFieldName> {
    let name = HeaderName::try_from(text).ok().filter(|name| !name.as_str().contains('*'));
    let name = name.ok_or_else(|| InvalidFieldName::NotAName(format!("!{text}")))?;
    let folded = fold(text);
    let of_one_hop = OF_ONE_HOP.iter().any(|field| fold(field) == folded);
    if of_one_hop || WORD_OF_THE_BROKER.iter().any(|beginning| folded.starts_with(beginning)) {
        return Err(InvalidFieldName::Guarded(text.to_owned()));
    }
    Ok(name)
}

/// Is true if a name reads as one of these to some servers, and to others does not.
fn is_misspelt(name: &str, folded: &str, names: &[&str]) -> bool {
    names.iter().any(|known| *known != name && known.bytes().filter(|byte| *byte != b'-').eq(folded.bytes()))
}

fn remove_where(headers: &mut HeaderMap, is_removed: impl Fn(&HeaderName, &str) -> bool) {
    let mut folded = String::with_capacity(64);
    let removed: Vec<_> = headers
        .keys()
        .filter(|name| {
            fold_into(name.as_str(), &mut folded);
            is_removed(name, &folded)
        })
        .cloned()
        .collect();
    for name in removed {
        headers.remove(name);
    }
}

/// The letters and digits of a name, in lower case.
fn fold(name: &str) -> String {
    let mut folded = String::new();
    fold_into(name, &mut folded);
    folded
}

fn fold_into(name: &str, folded: &mut String) {
    folded.clear();
    folded.extend(name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()));
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
