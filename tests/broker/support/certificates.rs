//! Certificates of a private authority, and a TLS server with them in front of any other.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::program::Folder;

/// An authority (`ca.crt`), and certificates of it for 127.0.0.1, backoffice.example.com and idp.example.test
/// (`server.crt`) and for a client (`client.crt`), with
/// keys.
pub fn make_certificates(folder: &Folder) {
    let openssl = |arguments: &str| {
        let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder.path()).output();
        let made = made.unwrap_or_else(|error| panic!("openssl cannot be started: {error} (tests/run.sh installs it)"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=authority"));
    for (name, extension) in [
        ("server", "subjectAltName=IP:127.0.0.1,DNS:backoffice.example.com,DNS:idp.example.test\n"),
        ("client", "subjectAltName=DNS:backoffice\n"),
    ] {
        folder.write(&format!("{name}.ext"), extension);
        openssl(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -days 2 -extfile {name}.ext -out {name}.crt -CAcreateserial"
        ));
    }
}

/// Ends TLS in front of another server for as long as the test runs; `wants_certificate`: of whoever connects.
pub async fn end_tls(folder: &Path, wants_certificate: bool, behind: SocketAddr) -> SocketAddr {
    let certificates = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = if wants_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(certificates("ca.crt")).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        config.with_client_cert_verifier(verifier)
    } else {
        config.with_no_client_auth()
    };
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificates("server.crt")], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(connection).await else { return };
                let mut inside = TcpStream::connect(behind).await.unwrap();
                // Whoever leaves first ends it.
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    address
}
