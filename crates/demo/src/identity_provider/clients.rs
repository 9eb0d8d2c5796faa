//! Recognises the registered client that a request comes from.
//!
//! Owns client authentication (RFC 6749 section 2.3.1) and the exact comparison of redirect URIs. Called by
//! `authorization_request`, `token`, `revoke` and `end_session`.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use super::RegisteredClient;
use super::parameters::Parameters;

/// The reason why a client was not recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClientError {
    #[error("the Authorization header is not a readable Basic one")]
    UnreadableHeader,
    #[error("the client has to authenticate with client_secret_basic or client_secret_post")]
    NoCredentials,
    #[error("the client used more than one method to authenticate")]
    SeveralMethods,
    #[error("the client is unknown or its secret is wrong")]
    WrongCredentials,
}

/// Finds the client with this name.
pub(super) fn find<'a>(clients: &'a [RegisteredClient], client_id: &str) -> Option<&'a RegisteredClient> {
    clients.iter().find(|client| client.client_id == client_id)
}

/// Finds the client that authenticates in this request.
pub(super) fn authenticate<'a>(
    clients: &'a [RegisteredClient],
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<&'a RegisteredClient, ClientError> {
    let (client_id, secret) = credentials(headers, parameters)?;
    let client = find(clients, &client_id);
    // An unknown client is compared as well, so that the time does not tell whether it exists.
    let expected = client.map(|client| client.client_secret.as_str()).unwrap_or_default();
    match (client, is_same_secret(expected, &secret)) {
        (Some(client), true) => Ok(client),
        _ => Err(ClientError::WrongCredentials),
    }
}

fn credentials(headers: &HeaderMap, parameters: &Parameters) -> Result<(String, String), ClientError> {
    let Some(header) = headers.get(header::AUTHORIZATION) else {
        let pair = parameters.get("client_id").zip(parameters.get("client_secret"));
        return pair.map(|(id, secret)| (id.to_owned(), secret.to_owned())).ok_or(ClientError::NoCredentials);
    };
    let (client_id, secret) = header.to_str().ok().and_then(basic_credentials).ok_or(ClientError::UnreadableHeader)?;
    let names_another = parameters.get("client_id").is_some_and(|named| named != client_id);
    if parameters.mentions("client_secret") || names_another {
        return Err(ClientError::SeveralMethods);
    }
    Ok((client_id, secret))
}

fn basic_credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(decoded).ok()?;
    let (client_id, secret) = text.split_once(':')?;
    Some((form_decoded(client_id)?, form_decoded(secret)?))
}

/// Decodes one half, which was form-encoded before both were joined, RFC 6749 section 2.3.1. What would be two
/// parameters in a form was not encoded.
fn form_decoded(encoded: &str) -> Option<String> {
    if encoded.contains(['&', '=']) {
        return None;
    }
    let pair = format!("={encoded}");
    form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
}

/// Compares digests, so that not even the length can be measured.
fn is_same_secret(expected: &str, presented: &str) -> bool {
    let [expected, presented] = [expected, presented].map(|secret| digest::digest(&digest::SHA256, secret.as_bytes()));
    expected.as_ref().ct_eq(presented.as_ref()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> Vec<RegisteredClient> {
        vec![RegisteredClient {
            client_id: "back office".into(),
            client_secret: "s:3+c&ret".into(),
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            backchannel_logout_uri: None,
        }]
    }

    fn outcome(basic: Option<&str>, body: &str) -> Result<String, ClientError> {
        let mut headers = HeaderMap::new();
        if let Some(basic) = basic {
            let value = format!("Basic {}", STANDARD.encode(basic)).parse().unwrap();
            headers.insert(header::AUTHORIZATION, value);
        }
        let parameters = Parameters::parse(body.as_bytes());
        authenticate(&clients(), &headers, &parameters).map(|client| client.client_id.clone())
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        assert_eq!(outcome(Some("back+office:s%3A3%2Bc%26ret"), ""), Ok("back office".into()));
        assert_eq!(outcome(Some("back+office:s:3+c&ret"), ""), Err(ClientError::UnreadableHeader));
    }

    #[test]
    fn credentials_in_the_body_work_but_not_next_to_a_header() {
        let body = "client_id=back+office&client_secret=s%3A3%2Bc%26ret";
        assert_eq!(outcome(None, body), Ok("back office".into()));
        assert_eq!(outcome(Some("back+office:s%3A3%2Bc%26ret"), body), Err(ClientError::SeveralMethods));
    }

    #[test]
    fn an_unknown_client_and_a_wrong_or_absent_secret_are_refused() {
        assert_eq!(outcome(Some("nobody:"), ""), Err(ClientError::WrongCredentials));
        assert_eq!(outcome(Some("back+office:wrong"), ""), Err(ClientError::WrongCredentials));
        assert_eq!(outcome(None, "client_id=back+office&client_secret="), Err(ClientError::NoCredentials));
    }
}
