//! Finds the reason in a refusal: in its challenge and its body, as the standards and well-known providers write it.
//!
//! Pure. The parts are not cleaned yet: [`crate::answer::provider_words`] cleans it.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Response};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::answer::content_type::media_type;
use crate::answer::strict_json;

/// Members that hold a code where `error` holds none: Microsoft Graph, Facebook, Google, Okta, NAVER.
const CODES: [&str; 6] = ["code", "type", "status", "errorCode", "resultcode", "error_code"];
/// Members that hold a description where `error_description` is none: GitHub, Kakao, NAVER WORKS, Okta, Ory, RFC 9457.
const DESCRIPTIONS: [&str; 9] = [
    "error_description",
    "message",
    "msg",
    "description",
    "detail",
    "errorSummary",
    "errorMessage",
    "error_message",
    "title",
];
const ADDRESSES: [&str; 2] = ["error_uri", "documentation_url"];

/// The three parts of a reason, as they were sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spoken<'a> {
    /// `error`
    pub code: Option<&'a str>,
    /// `error_description`
    pub description: Option<&'a str>,
    /// `error_uri`
    pub address: Option<&'a str>,
}

/// The parts of a reason before they are cleaned.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    code: Option<String>,
    description: Option<String>,
    address: Option<String>,
}

impl Heard {
    pub(crate) fn fill_from(&mut self, other: Self) {
        self.code = self.code.take().or(other.code);
        self.description = self.description.take().or(other.description);
        self.address = self.address.take().or(other.address);
    }

    pub(crate) fn spoken(&self) -> Spoken<'_> {
        Spoken {
            code: self.code.as_deref(),
            description: self.description.as_deref(),
            address: self.address.as_deref(),
        }
    }
}

pub(crate) fn body(answer: &Response<Vec<u8>>) -> Heard {
    let kind = media_type(answer).unwrap_or_default();
    match kind.as_str() {
        "application/x-www-form-urlencoded" => {
            let members = form_urlencoded::parse(answer.body()).map(|(name, value)| (name.into_owned(), value.into()));
            document(&members.collect())
        }
        "text/plain" => {
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            // Some providers declare their JSON as text.
            strict_json::object(answer.body())
                .map_or(Heard { description: Some(text), ..Heard::default() }, |it| document(&it))
        }
        _ => strict_json::object(answer.body()).map_or_else(|_| Heard::default(), |it| document(&it)),
    }
}

/// Reads the standard's members first; then those of an object at `error`, or of the first in a list of `errors`.
pub(crate) fn document(said: &Map<String, Value>) -> Heard {
    let nested = match (said.get("error"), said.get("errors").and_then(Value::as_array)) {
        (Some(Value::Object(nested)), _) => Some(nested),
        (_, Some(several)) => several.first().and_then(Value::as_object),
        _ => None,
    };
    let first = |names: &[&str]| {
        let of = |members: &Map<String, Value>| names.iter().find_map(|name| written(members.get(*name)?));
        of(said).filter(|_| nested.is_none()).or_else(|| of(nested?)).or_else(|| of(said))
    };
    let code = said.get("error").and_then(Value::as_str).map(str::to_owned);
    Heard {
        code: code.filter(|code| !code.is_empty()).or_else(|| first(&CODES)),
        description: first(&DESCRIPTIONS),
        address: first(&ADDRESSES),
    }
}

fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Reads the parameters of a challenge (RFC 9110 11.6.1, RFC 6750 3), whatever its scheme.
pub(crate) fn challenge(headers: &HeaderMap) -> Heard {
    let mut heard = Heard::default();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let text = String::from_utf8_lossy(value.as_bytes());
        for (name, value) in parameters(&text) {
            match name.to_ascii_lowercase().as_str() {
                "error" => heard.code = heard.code.take().or(Some(value)),
                "error_description" => heard.description = heard.description.take().or(Some(value)),
                "error_uri" => heard.address = heard.address.take().or(Some(value)),
                _ => {}
            }
        }
    }
    heard
}

/// Reads every `name=value` and `name="value"`, and skips what is neither.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut characters = text.chars().peekable();
    let mut name = String::new();
    while let Some(character) = characters.next() {
        match character {
            '=' if characters.next_if_eq(&'"').is_some() => {
                let mut value = String::new();
                while let Some(inside) = characters.next().filter(|inside| *inside != '"') {
                    value.extend(if inside == '\\' { characters.next() } else { Some(inside) });
                }
                found.push((std::mem::take(&mut name), value));
            }
            '=' if !name.is_empty() => {
                let value = std::iter::from_fn(|| characters.next_if(|next| !matches!(next, ',' | ' ' | '\t')));
                found.push((std::mem::take(&mut name), value.collect()));
            }
            ',' | ' ' | '\t' | '=' | '"' => name.clear(),
            other => name.push(other),
        }
    }
    found
}
