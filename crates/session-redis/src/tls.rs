//! TLS to Redis, the same for the pool and for the links: rustls, the system's authorities or those configured.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use counterfoil_session::store::StoreError;

/// A connector that believes these authorities (PEM), or the system's.
pub(super) fn connector(authorities: Option<&str>) -> Result<TlsConnector, StoreError> {
    let mut roots = RootCertStore::empty();
    let failed = |error: &dyn std::fmt::Display| StoreError::Tls(error.to_string());
    match authorities {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| failed(&error))?;
                roots.add(certificate).map_err(|error| failed(&error))?;
            }
        }
        // Some of a system's certificates may be unreadable; the others do.
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    if roots.is_empty() {
        return Err(StoreError::Tls("there is no certificate authority to believe".into()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
