//! A new connection to an upstream: TCP, TLS where the upstream is `https`, and the bounds on both.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::Uri;
use hyper::upgrade::{Parts, Upgraded};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::{Service, ServiceExt};

use crate::tls::UpstreamTls;

/// Longest wait for a TCP connection, shared by the addresses of an upstream's name, so that a dead one is passed over.
const TCP_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for a connection to an upstream, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence after which the system asks whether the other side is still there, the time between two such questions, and how
/// many of them may stay without an answer.
const KEEP_ALIVE: Duration = Duration::from_mins(1);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_RETRIES: u32 = 3;

/// Connects to upstreams.
pub(super) type Connector = TimeoutConnector<HttpsConnector<HttpConnector>>;

/// Prepares connecting: an upstream may take `write_timeout` between two pieces of a request that it reads. Without
/// settings for TLS, nobody is believed there.
///
/// # Errors
/// If the TLS library cannot be set up.
pub(super) fn connector(write_timeout: Duration, tls: Option<&UpstreamTls>) -> io::Result<Connector> {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(TCP_TIMEOUT));
    // Without it the end of a request that does not fill a segment waits for an acknowledgement.
    tcp.set_nodelay(true);
    // A machine that is gone says nothing, and an answer that has begun has no other limit.
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEP_ALIVE_RETRIES));
    tcp.enforce_http(false);
    let config = tls.map_or_else(believing_nobody, |tls| Ok(tls.config()))?;
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    if let Some(name) = tls.and_then(UpstreamTls::server_name) {
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name.clone()));
    }
    let mut connector = TimeoutConnector::new(builder.enable_http1().wrap_connector(tcp));
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_write_timeout(Some(write_timeout));
    Ok(connector)
}

/// A connection to an upstream.
type UpstreamStream = <Connector as Service<Uri>>::Response;

/// Bytes in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Connects to an upstream.
pub(super) async fn connect(
    connector: &Connector,
    upstream: &Uri,
) -> Result<UpstreamStream, Box<dyn Error + Send + Sync>> {
    connector.clone().oneshot(upstream.clone()).await
}

/// Takes apart a connection that speaks another protocol from now on, and returns what was received of that already. Its
/// write timeout stays: an upstream that reads nothing holds no client's place for ever.
pub(crate) fn taken_apart(upgraded: Upgraded) -> (Box<dyn Duplex>, Bytes) {
    match upgraded.downcast::<UpstreamStream>() {
        Ok(Parts { io, read_buf, .. }) => (Box::new(TokioIo::new(io)), read_buf),
        Err(upgraded) => (Box::new(TokioIo::new(upgraded)), Bytes::new()),
    }
}

/// TLS without authorities: where every upstream is plain HTTP, those of the system are not needed.
fn believing_nobody() -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(io::Error::other)?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}
