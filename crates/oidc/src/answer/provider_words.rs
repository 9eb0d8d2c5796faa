//! The reason that a provider gives when it refuses, in its own words, since operators search for those.
//!
//! Read from every place where the standards put them, and from where well-known providers put them instead; bounded,
//! printable, without any secret that was sent in the request, and marked with the party that wrote it. They go into
//! errors, and from there to the log, the audit trail and `counterfoil check`, never onto a page (RFC 6749
//! 4.1.2.1 and 5.2, RFC 6750 3, RFC 9126 2.3). No decision depends on them. Pure.

use std::fmt;

use http::Response;
use serde_json::{Map, Value};

use crate::answer::reason::{Heard, Spoken, body, challenge, document};
use crate::answer::redaction::{harmless, redact};
use crate::answer::sent::Sent;
use crate::answer::strict_json;

/// Longest error code kept, in characters.
const LONGEST_CODE: usize = 64;
/// Longest description kept, in characters: Microsoft's end with the trace and correlation ids that its support asks
/// for.
const LONGEST_DESCRIPTION: usize = 600;
/// Longest address kept.
const LONGEST_ADDRESS: usize = 200;
/// Members of a token endpoint's answer that are secret.
const TOKENS: [&str; 3] = ["access_token", "refresh_token", "id_token"];

/// The party whose word a reason is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// The provider: over the back channel, or signed by it.
    Provider,
    /// The browser, or anybody else who wrote the address that it brought.
    Browser,
}

/// A reason as it was given; most answers have none. Cheap to move.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderWords(Option<Box<Reason>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Reason {
    speaker: Speaker,
    code: Option<String>,
    description: Option<String>,
    address: Option<String>,
}

impl ProviderWords {
    /// Takes a reason that the provider signed or sent over the back channel; `secrets` are removed from it, since it
    /// may repeat them.
    pub fn of_provider(spoken: Spoken<'_>, secrets: &[&str]) -> Self {
        Self::new(Speaker::Provider, spoken, secrets)
    }

    /// Takes a reason that the browser brought. It proves nothing: anybody who makes an address can write anything into
    /// it.
    pub fn of_browser(spoken: Spoken<'_>, secrets: &[&str]) -> Self {
        Self::new(Speaker::Browser, spoken, secrets)
    }

    /// Reads the reason in a refusal of the provider: in its challenge (RFC 6750 3), and in its body.
    pub(crate) fn of_answer(answer: &Response<Vec<u8>>) -> Self {
        let mut owned = challenge(answer.headers());
        owned.fill_from(body(answer));
        Self::heard(&owned, answer)
    }

    /// Reads the reason in the body of a refusal alone.
    pub(crate) fn of_body(answer: &Response<Vec<u8>>) -> Self {
        Self::heard(&body(answer), answer)
    }

    /// Returns a reason without the secrets of the request and of the answer.
    fn heard(owned: &Heard, answer: &Response<Vec<u8>>) -> Self {
        let nothing = Sent::default();
        let sent = answer.extensions().get::<Sent>().unwrap_or(&nothing);
        let document = strict_json::object(answer.body()).unwrap_or_default();
        // Tokens may come along with a refusal.
        let tokens = TOKENS.iter().filter_map(|name| document.get(*name)?.as_str());
        let secrets: Vec<_> = sent.0.iter().map(|secret| secret.expose().as_str()).chain(tokens).collect();
        Self::of_provider(owned.spoken(), &secrets)
    }

    /// Reads the reason in a document; `secrets` are what was sent for it.
    pub(crate) fn of_document(said: &Map<String, Value>, secrets: &[&str]) -> Self {
        Self::of_provider(document(said).spoken(), secrets)
    }

    /// Returns the same without further secrets.
    #[must_use]
    pub fn without(self, secrets: &[&str]) -> Self {
        let Some(reason) = self.0 else { return self };
        let spoken = Spoken {
            code: reason.code.as_deref(),
            description: reason.description.as_deref(),
            address: reason.address.as_deref(),
        };
        Self::new(reason.speaker, spoken, secrets)
    }

    /// Returns the same without the error code, if it is this one: the error of ours names it already.
    #[must_use]
    pub(crate) fn without_code(self, known: &str) -> Self {
        let Some(mut reason) = self.0 else { return self };
        reason.code = reason.code.filter(|code| code != known);
        let says_nothing = reason.code.is_none() && reason.description.is_none() && reason.address.is_none();
        Self((!says_nothing).then_some(reason))
    }

    /// Returns the error code, if one was given.
    pub fn code(&self) -> Option<&str> {
        self.0.as_ref()?.code.as_deref()
    }

    /// Returns the description, if one was given.
    pub fn description(&self) -> Option<&str> {
        self.0.as_ref()?.description.as_deref()
    }

    /// Returns the address of a page about it, if one was given.
    pub fn address(&self) -> Option<&str> {
        self.0.as_ref()?.address.as_deref()
    }

    fn new(speaker: Speaker, spoken: Spoken<'_>, secrets: &[&str]) -> Self {
        let clean = |text: Option<&str>, longest: usize| {
            // A part much longer than is kept is not searched to its end.
            let text: String = text?.chars().take(4 * LONGEST_DESCRIPTION).collect();
            let text = harmless(&redact(&text, secrets));
            let text: String = text.trim().chars().take(longest).collect();
            Some(text).filter(|text| !text.is_empty())
        };
        let reason = Reason {
            speaker,
            code: clean(spoken.code, LONGEST_CODE),
            description: clean(spoken.description, LONGEST_DESCRIPTION),
            address: clean(spoken.address, LONGEST_ADDRESS),
        };
        let says_nothing = reason.code.is_none() && reason.description.is_none() && reason.address.is_none();
        Self((!says_nothing).then(|| Box::new(reason)))
    }
}

impl fmt::Display for ProviderWords {
    /// Writes the reason after a sentence of ours; nothing if the provider gave none.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(reason) = &self.0 else { return Ok(()) };
        formatter.write_str(match reason.speaker {
            Speaker::Provider => "; the provider says:",
            Speaker::Browser => "; the browser brought:",
        })?;
        if let Some(code) = &reason.code {
            write!(formatter, " {code}")?;
        }
        if let Some(description) = &reason.description {
            write!(formatter, " '{description}'")?;
        }
        match &reason.address {
            Some(address) => write!(formatter, " <{address}>"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_core::printable::is_unprintable;
    use http::Request;
    use http::header::{AUTHORIZATION, CONTENT_TYPE};

    use super::*;

    fn said(status: u16, headers: &[(&str, &str)], body: &str) -> String {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        ProviderWords::of_answer(&answer.body(body.as_bytes().to_vec()).unwrap()).to_string()
    }

    const JSON: (&str, &str) = ("content-type", "application/json");

    /// RFC 6749 5.2, RFC 6750 3, RFC 7807, and what the documents of the presets' providers show: one line a provider.
    #[test]
    fn a_reason_is_found_wherever_a_provider_puts_it() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        for (headers, body, expected) in [
            (
                &[JSON][..],
                r#"{"error":"invalid_client","error_description":"Authentication failed.","error_uri":"https://x.test/e"}"#,
                "invalid_client 'Authentication failed.' <https://x.test/e>",
            ),
            (&[JSON], r#"{"ok":false,"error":"invalid_code"}"#, "invalid_code"),
            (
                &[JSON],
                r#"{"message":"Bad credentials","documentation_url":"https://d.test"}"#,
                "'Bad credentials' <https://d.test>",
            ),
            (
                &[JSON],
                r#"{"error":{"message":"Error validating access token","type":"OAuthException","code":190}}"#,
                "190 'Error validating access token'",
            ),
            (
                &[JSON],
                r#"{"error":{"code":"InvalidAuthenticationToken","message":"Lifetime validation failed"}}"#,
                "InvalidAuthenticationToken 'Lifetime validation failed'",
            ),
            (
                &[JSON],
                r#"{"type":"error","error":{"message":"Access token expired."}}"#,
                "error 'Access token expired.'",
            ),
            (
                &[JSON],
                r#"{"errorCode":"E0000011","errorSummary":"Invalid token provided"}"#,
                "E0000011 'Invalid token provided'",
            ),
            (
                &[JSON],
                r#"{"msg":"this access token does not exist","code":-401}"#,
                "-401 'this access token does not exist'",
            ),
            (&[JSON], r#"{"resultcode":"024","message":"Authentication failed"}"#, "024 'Authentication failed'"),
            (
                &[JSON],
                r#"{"code":"UNAUTHORIZED","description":"Authentication failed"}"#,
                "UNAUTHORIZED 'Authentication failed'",
            ),
            (&[JSON], r#"{"errors":[{"code":"40101","message":"no session"}]}"#, "40101 'no session'"),
            (
                &[("content-type", "application/problem+json")],
                r#"{"title":"Forbidden","status":403}"#,
                "403 'Forbidden'",
            ),
            (
                &[form],
                "error=bad_verification_code&error_description=The+code+is+wrong",
                "bad_verification_code 'The code is wrong'",
            ),
            (&[("content-type", "text/plain")], "token is expired\n", "'token is expired'"),
            (
                &[(
                    "www-authenticate",
                    r#"Bearer realm="a, b", error="invalid_token", error_description="Not \"this\" one""#,
                )],
                "",
                "invalid_token 'Not 'this' one'",
            ),
            (
                &[("www-authenticate", "Negotiate"), ("www-authenticate", "DPoP error=invalid_dpop_proof, algs=ES256")],
                "",
                "invalid_dpop_proof",
            ),
            (
                &[JSON, ("www-authenticate", r#"Bearer error="insufficient_scope""#)],
                r#"{"error":"other","error_description":"more"}"#,
                "insufficient_scope 'more'",
            ),
        ] {
            assert_eq!(said(401, headers, body), format!("; the provider says: {expected}"), "{body}");
        }
        for (headers, body) in [
            (&[("content-type", "text/html")][..], "<title>Not found</title>"),
            (&[JSON], "[]"),
            (&[JSON], "{}"),
            (&[JSON], r#"{"error":"","error_description":[]}"#),
            (&[("www-authenticate", "Bearer")], ""),
            (&[("www-authenticate", r#"Bearer error_description="unfinished"#)], "\u{0}"),
        ] {
            let silent = said(401, headers, body);
            assert!(silent.is_empty() || silent.ends_with("'unfinished'"), "{silent}");
        }
    }

    /// R-O01
    #[test]
    fn a_reason_repeats_nothing_of_the_request_that_it_answers() {
        let form = "grant_type=authorization_code&code=CANARY-code-1234&redirect_uri=https%3A%2F%2Fapp.test%2Fcallback";
        let request = Request::post("https://idp.test/token")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(AUTHORIZATION, "Basic YmFja29mZmljZTpDQU5BUlklMjBzZWNyZXQ=")
            .header("dpop", "CANARY-proof");
        let sent = Sent::with(&request.body(form.as_bytes().to_vec()).unwrap());
        let mut answer = Response::new(
            r#"{"error":"invalid_grant CANARY-code-1234","error_description":"CANARY-code-1234 CANARY secret CANARY-proof at https://app.test/callback"}"#
                .as_bytes()
                .to_vec(),
        );
        answer.extensions_mut().insert(sent);
        let words = ProviderWords::of_answer(&answer).to_string();
        assert!(
            !words.contains("CANARY") && words.contains("invalid_grant") && words.contains("app.test/callback"),
            "{words}"
        );
    }

    /// R-O03
    #[test]
    fn a_reason_cannot_forge_a_line_and_is_not_endless() {
        let hostile = "a\r\nlevel=error \u{1b}[31m \u{202e} \"x\" \\";
        let spoken = Spoken { code: Some(hostile), description: Some(hostile), address: Some(hostile) };
        let words = ProviderWords::of_browser(spoken, &[]).to_string();
        assert!(words.starts_with("; the browser brought: a  level=error"), "{words}");
        assert!(
            !words.chars().any(|character| is_unprintable(character) || matches!(character, '"' | '\\')),
            "{words}"
        );
        let long = "x".repeat(100_000);
        let spoken = Spoken { code: Some(&long), description: Some(&long), address: Some(&long) };
        let words = ProviderWords::of_provider(spoken, &[]);
        assert_eq!([words.code(), words.description(), words.address()].map(|it| it.unwrap().len()), [64, 600, 200]);
        assert!(words.to_string().len() < 1_000, "it fits into a field of the log");
    }
}
