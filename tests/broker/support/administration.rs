//! A machine that calls the administration API.

use http::Method;
use serde_json::Value;

use super::broker::{Broker, PUBLIC};
use super::browser::{Answer, Browser};

/// The one token that [`SECTION`] knows.
pub const TOKEN: &str = "test-token-0123456789abcdefghijklmnop";

/// Configures it.
pub const SECTION: &str = "[admin]\ngroups = [\"security\"]\nops_groups = [\"ops\"]\napi_tokens = [\"test-token-0123456789abcdefghijklmnop\"]\n";

/// Calls with the token.
pub async fn call(broker: &Broker, method: Method, path: &str, body: Option<Value>) -> Answer {
    call_from(&broker.browser(), method, path, body).await
}

/// Calls with the token from a client of its own.
pub async fn call_from(client: &Browser, method: Method, path: &str, body: Option<Value>) -> Answer {
    let url = format!("{PUBLIC}/sso/api/v1/{path}");
    let asking = client.ask(method, &url).header("authorization", &format!("Bearer {TOKEN}"));
    let asking = match body {
        Some(body) => asking.header("content-type", "application/json").body(&body.to_string()),
        None => asking,
    };
    asking.send().await
}

/// Ends sessions; the answer's body.
pub async fn revoke(broker: &Broker, body: Value) -> Value {
    let answer = call(broker, Method::POST, "revocations", Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}
