//! Upstreams that are reached by TLS: whose certificate is believed, and which one is shown.

use crate::support::broker::{Broker, Setup};
use crate::support::captured_log::CapturedLog;
use crate::support::certificates::{end_tls, make_certificates};
use crate::support::program::Folder;
use crate::support::raw::RawUpstream;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// R-K06, R-K12: one line a case. An upstream whose certificate does not fit receives nothing.
#[tokio::test]
async fn an_upstream_is_believed_for_its_certificate_alone() {
    let log = CapturedLog::begin(tracing::Level::WARN);
    let folder = Folder::new();
    make_certificates(&folder);
    let file = |name: &str| folder.path().join(name).display().to_string();
    let upstream = RawUpstream::saying(OK.to_vec(), false).await;
    let open = end_tls(folder.path(), false, upstream.address).await.port();
    let closed = end_tls(folder.path(), true, upstream.address).await.port();
    let ca = format!("upstream_tls.ca_file = \"{}\"\n", file("ca.crt"));
    let pair = |name: &str| {
        format!(
            "upstream_tls.cert_file = \"{}\"\nupstream_tls.key_file = \"{}\"\n",
            file(&format!("{name}.crt")),
            file(&format!("{name}.key"))
        )
    };
    let named = |name: &str| format!("upstream_tls.server_name = \"{name}\"\n");
    for (host, port, keys, expected) in [
        ("127.0.0.1", open, String::new(), 502),
        ("127.0.0.1", open, ca.clone(), 200),
        ("localhost", open, ca.clone(), 502),
        ("localhost", open, ca.clone() + &named("backoffice.example.com"), 200),
        ("localhost", open, ca.clone() + &named("127.0.0.1"), 200),
        ("127.0.0.1", open, ca.clone() + &named("other.example.com"), 502),
        ("127.0.0.1", closed, ca.clone(), 502),
        ("127.0.0.1", closed, ca.clone() + &pair("client"), 200),
    ] {
        let routes =
            format!("[[route]]\npath = \"/\"\naccess = \"public\"\nupstream = \"https://{host}:{port}\"\n{keys}");
        let broker = Broker::with(Setup { routes: Box::leak(routes.into_boxed_str()), ..Setup::default() }).await;
        let before = upstream.heads().len();
        let answer = broker.browser().get("/page").await;
        assert_eq!(answer.status, expected, "{host} {port} {keys}: {}", answer.body);
        assert_eq!(upstream.heads().len() - before, usize::from(expected == 200), "{keys}");
    }
    assert_eq!(log.lines_with("invalid peer certificate").len(), 3, "the log says why");
}
