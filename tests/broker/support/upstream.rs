//! A back office that tells what reached it.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Starts an echo: every path answers JSON of what was received. Headers `x-answer-…` of the request come back
/// without that prefix.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(echo)).await });
    address
}

async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let received: Vec<_> = headers.iter().map(|(name, value)| json!([name.as_str(), text(value)])).collect();
    let told = json!({
        "upstream": true,
        "method": method.as_str(),
        "target": uri.to_string(),
        "headers": received,
        "body": String::from_utf8_lossy(&body),
    });
    let mut response = axum::Json(told).into_response();
    for (name, value) in &headers {
        if let Some(name) = name.as_str().strip_prefix("x-answer-") {
            response.headers_mut().append(http::HeaderName::try_from(name).unwrap(), value.clone());
        }
    }
    response
}

/// The values of one header in an echo.
pub fn received<'a>(echo: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = echo["headers"].as_array().unwrap().iter();
    headers.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}
