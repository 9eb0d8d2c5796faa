//! Converts answers of token endpoints that deviate from RFC 6749 5 into its form, the only one that the `oauth2` crate
//! reads.
//!
//! Pure. Of an answer that cannot be read in one way only nothing is left, for the crate to refuse: the crate would let
//! a name stand twice that it does not know, `error` say.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::answer::content_type::media_type;
use crate::answer::error_codes::{AWAY, KNOWN_REFUSALS};
use crate::answer::provider_words::ProviderWords;
use crate::client::json::json_object;

/// Turns a refusal that comes with status 200 (GitHub, NAVER, Slack) into one, also if tokens come with it, since such
/// an answer is ambiguous. Turns a form-encoded answer of a plain OAuth 2.0 provider that does not heed `Accept` into
/// JSON; OpenID Connect providers have to answer with JSON (Core 3.1.3.3).
pub(crate) fn as_specified(mut answer: Response<Vec<u8>>, is_plain: bool) -> Response<Vec<u8>> {
    let is_form = media_type(&answer).as_deref() == Some("application/x-www-form-urlencoded");
    let document = if is_form && is_plain { form(answer.body()) } else { json_object(answer.body()).ok() };
    let Some(document) = document else {
        if answer.status() == StatusCode::OK {
            answer.body_mut().clear();
        }
        return answer;
    };
    let refuses = document.get("error").is_some_and(|said| !said.is_null() && said.as_str() != Some(""));
    if answer.status() == StatusCode::OK && refuses {
        *answer.status_mut() = StatusCode::BAD_REQUEST;
    }
    if is_form {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *answer.body_mut() = Value::Object(document).to_string().into_bytes();
    }
    answer
}

/// Is true of a refusal that is no error document (RFC 6749 5.2): a page, an empty body, or a code that is no text.
pub(crate) fn refuses_in_other_words(answer: &Response<Vec<u8>>) -> bool {
    let document = json_object(answer.body()).unwrap_or_default();
    match answer.status() {
        StatusCode::OK => document.get("error").is_some_and(Value::is_object) && !document.contains_key("access_token"),
        _ => !document.get("error").is_some_and(Value::is_string),
    }
}

/// Converts a refusal into the standard's error document.
pub(crate) fn with_harmless_words(mut answer: Response<Vec<u8>>) -> Response<Vec<u8>> {
    if answer.status() == StatusCode::OK {
        return answer;
    }
    let (said, own) = (ProviderWords::of_answer(&answer), ProviderWords::of_body(&answer));
    let document = json_object(answer.body()).unwrap_or_default();
    let code = document.get("error").and_then(Value::as_str);
    // Only the code in the body counts (RFC 6749 5.2), unchanged: a cleaned one might be another code.
    let known = code.filter(|code| KNOWN_REFUSALS.contains(code) || AWAY.contains(code));
    let other = if code.is_some() { own.code() } else { said.code() };
    let mut plain = Map::new();
    let mut tell = |name: &str, text: Option<&str>| plain.extend(text.map(|text| (name.to_owned(), text.into())));
    tell("error", known.or(other));
    tell("error_description", said.description());
    tell("error_uri", said.address());
    *answer.body_mut() = Value::Object(plain).to_string().into_bytes();
    answer
}

/// Reads the members of a form; none if one of them stands twice (RFC 6749 3.2).
fn form(body: &[u8]) -> Option<Map<String, Value>> {
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(body) {
        // `expires_in` is read from digits as well.
        if members.insert(name.into_owned(), value.into_owned().into()).is_some() {
            return None;
        }
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6749 5.2: one line a refusal: its challenge, its code in the body, and the code that is acted on.
    #[test]
    fn a_refusals_own_code_is_the_one_that_counts() {
        for (challenge, body, code) in [
            ("", r#"{"error":"invalid_grant"}"#, "invalid_grant"),
            (r#"Bearer error="invalid_token""#, r#"{"error":"temporarily_unavailable"}"#, "temporarily_unavailable"),
            (r#"Basic realm="x", error="invalid_client""#, r#"{"error":"invalid_grant"}"#, "invalid_grant"),
            (r#"Bearer error="invalid_client""#, r#"{"error":"odd"}"#, "odd"),
            (r#"Bearer error="invalid_client""#, "{}", "invalid_client"),
        ] {
            let answer = Response::builder().status(400).header("www-authenticate", challenge);
            let answer = answer.header(CONTENT_TYPE, "application/json").body(body.as_bytes().to_vec()).unwrap();
            let harmless = json_object(with_harmless_words(answer).body()).unwrap();
            assert_eq!(harmless["error"], code, "{challenge} {body}");
        }
    }

    /// R-C07, R-C12: one line a case: what comes, and what is made of it.
    #[test]
    fn forms_and_refusals_with_status_200_become_what_the_standard_says() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let json = "application/json";
        for (kind, body, status, made) in [
            (
                form,
                "access_token=a&token_type=bearer&scope=a%2Cb",
                200,
                r#"{"access_token":"a","scope":"a,b","token_type":"bearer"}"#,
            ),
            (form, "error=bad_verification_code", 400, r#"{"error":"bad_verification_code"}"#),
            (form, "access_token=a&access_token=b", 200, ""),
            (json, r#"{"access_token":"a","error":"invalid_grant","error":""}"#, 200, ""),
            (json, r#"{"access_token":"a","error":null,"error":"invalid_grant"}"#, 200, ""),
            (json, r#"{"access_token":"a","scope":"x","scope":"y"}"#, 200, ""),
            (json, r#"["a","bearer"]"#, 200, ""),
            (json, r#"{"error":"invalid_request"}"#, 400, r#"{"error":"invalid_request"}"#),
            (json, r#"{"ok":false,"error":"invalid_code"}"#, 400, r#"{"ok":false,"error":"invalid_code"}"#),
            (json, r#"{"error":7}"#, 400, r#"{"error":7}"#),
            (json, r#"{"error":null,"access_token":"a"}"#, 200, r#"{"error":null,"access_token":"a"}"#),
            (
                json,
                r#"{"error":"invalid_grant","access_token":"a"}"#,
                400,
                r#"{"error":"invalid_grant","access_token":"a"}"#,
            ),
            (json, r#"{"error":{},"access_token":"a"}"#, 400, r#"{"error":{},"access_token":"a"}"#),
            (json, r#"{"error":false,"access_token":"a"}"#, 400, r#"{"error":false,"access_token":"a"}"#),
            (form, "error=invalid_grant&access_token=a", 400, r#"{"access_token":"a","error":"invalid_grant"}"#),
            (json, r#"{"access_token":"a","error":""}"#, 200, r#"{"access_token":"a","error":""}"#),
            ("text/plain", "access_token=a", 200, ""),
            ("text/html", "<html>", 200, ""),
        ] {
            let answer = Response::builder().header(CONTENT_TYPE, kind).body(body.as_bytes().to_vec()).unwrap();
            let answer = as_specified(answer, true);
            assert_eq!(
                (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).as_ref()),
                (status, made),
                "{body}"
            );
        }
    }
}
