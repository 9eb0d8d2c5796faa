//! TLS towards upstreams: the authorities believed, the certificate shown, the name expected.

use std::fmt;
use std::sync::Arc;

use counterfoil_core::secret::Secret;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// The TLS settings of connections to an upstream. Cheap to clone.
#[derive(Clone)]
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

/// The certificate that is shown to an upstream, in PEM, and its key.
#[derive(Debug)]
pub struct ClientCertificate<'a> {
    /// The certificate, and those between it and its authority.
    pub chain: &'a str,
    /// The private key.
    pub key: &'a Secret<String>,
}

/// The reason that no connection could be made with some settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidTls {
    /// No authority could be read.
    #[error("holds no certificate authorities in PEM")]
    Authorities,
    /// This machine has no authorities of its own.
    #[error("is missing, and this machine has no certificate authorities of its own")]
    NoAuthorities,
    /// The client's certificate cannot be used.
    #[error("holds no certificate with its chain in PEM")]
    Certificate,
    /// The client's key cannot be used.
    #[error("holds no private key in PEM that belongs to the certificate")]
    Key,
    /// No name, and no address.
    #[error("must be a host name or an address")]
    ServerName,
    /// The library refuses.
    #[error("cannot be used: {0}")]
    Library(String),
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UpstreamTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl UpstreamTls {
    /// TLS that believes these authorities (PEM), or the machine's, shows a certificate if there is one, and expects the
    /// upstream's certificate to be for this name instead of the address's.
    ///
    /// # Errors
    /// [`InvalidTls`].
    pub fn new(
        authorities: Option<&str>,
        client: Option<&ClientCertificate<'_>>,
        server_name: Option<&str>,
    ) -> Result<Self, InvalidTls> {
        let roots = match authorities {
            Some(pem) => read_authorities(pem)?,
            None => of_this_machine()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| InvalidTls::Library(error.to_string()))?.with_root_certificates(roots);
        let config = match client {
            Some(ClientCertificate { chain, key }) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
                let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(InvalidTls::Certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| InvalidTls::Key)?;
                builder.with_client_auth_cert(chain, key).map_err(|_| InvalidTls::Key)?
            }
            None => builder.with_no_client_auth(),
        };
        let name = |name: &str| ServerName::try_from(name.to_owned()).map_err(|_| InvalidTls::ServerName);
        Ok(Self { config: Arc::new(config), server_name: server_name.map(name).transpose()? })
    }

    pub(crate) fn config(&self) -> ClientConfig {
        (*self.config).clone()
    }

    pub(crate) fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }
}

fn read_authorities(pem: &str) -> Result<RootCertStore, InvalidTls> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| InvalidTls::Authorities)?;
        roots.add(certificate).map_err(|_| InvalidTls::Authorities)?;
    }
    if roots.is_empty() { Err(InvalidTls::Authorities) } else { Ok(roots) }
}

/// The machine's authorities. Some of its certificates may be unreadable; the others do.
fn of_this_machine() -> Result<RootCertStore, InvalidTls> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(InvalidTls::NoAuthorities) } else { Ok(roots) }
}
