//! The broker's name at the provider, and its proof.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::idp::{
    Algorithm, AssertionAudience, ClientAuthentication, DpopSettings, ProviderHttp, PushedRequests, SigningKey,
    TlsSettings,
};
use crate::secret::Secret;

const METHOD: &str = "token_endpoint_auth_method";

/// Our name at the provider, the proof of it, and the keys behind the proof.
pub(super) struct Client {
    pub(super) id: String,
    pub(super) authentication: ClientAuthentication,
    pub(super) tls: TlsSettings,
    pub(super) dpop: Option<DpopSettings>,
    pub(super) pushed_requests: PushedRequests,
    pub(super) request_object_key: Option<SigningKey>,
}

/// The means of proof that the configuration gives. A faulty one is its own fault, not a missing one.
struct Means {
    has_secret: bool,
    secret: Option<Secret<String>>,
    has_key: bool,
    key: Option<SigningKey>,
    has_certificate: bool,
    audience: AssertionAudience,
    secret_issuer: Option<String>,
}

pub(super) fn read(section: &mut Reader) -> Client {
    let id = section.required::<String>("client_id");
    if id.as_deref() == Some("") {
        section.fault("client_id", "must not be empty");
    }
    let has_certificate = section.has("tls_client_cert_file");
    let means = Means {
        has_secret: is_given(section, "client_secret"),
        secret: read_secret(section),
        has_key: is_given(section, "client_key"),
        key: read_key(section),
        has_certificate,
        audience: read_audience(section),
        secret_issuer: section.optional("client_secret_issuer"),
    };
    let tls = read_tls(section);
    let dpop = read_dpop(section);
    let signed = section.or("request_object", false);
    if signed && !means.has_key {
        section.fault("client_key_file", "is missing: request_object signs with it");
    }
    let request_object_key = means.key.clone().filter(|_| signed);
    let authentication = read_authentication(section, means);
    let pushed_requests = read_pushed_requests(section);
    Client { id: id.unwrap_or_default(), authentication, tls, dpop, pushed_requests, request_object_key }
}

fn is_given(section: &Reader, key: &str) -> bool {
    section.has(key) || section.has(&format!("{key}_file"))
}

/// The method of proof; after a fault a public client, which is never used.
fn read_authentication(section: &mut Reader, means: Means) -> ClientAuthentication {
    let method =
        section.optional::<String>("token_endpoint_auth_method").unwrap_or_else(|| "client_secret_basic".to_owned());
    let method = method.as_str();
    let of_secret = matches!(method, "client_secret_basic" | "client_secret_post");
    if means.has_secret && !of_secret {
        section.fault(METHOD, "must be client_secret_basic or client_secret_post where there is a client_secret");
    }
    let of_certificate = matches!(method, "tls_client_auth" | "self_signed_tls_client_auth");
    match method {
        "client_secret_basic" | "client_secret_post" if !means.has_secret => {
            section.fault("client_secret", "is missing (for a public client: token_endpoint_auth_method = \"none\")");
        }
        "private_key_jwt" | "signed_client_secret" if !means.has_key => {
            section.fault("client_key_file", format!("is missing: {method} needs it"));
        }
        "signed_client_secret" if means.secret_issuer.is_none() => {
            section.fault("client_secret_issuer", "is missing: whom the secret is from");
        }
        _ if of_certificate && !means.has_certificate => {
            section.fault("tls_client_cert_file", "is missing: the provider knows us by this certificate");
        }
        _ if of_secret || of_certificate || matches!(method, "private_key_jwt" | "signed_client_secret" | "none") => {}
        _ => section.fault(
            METHOD,
            "must be client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth, \
             self_signed_tls_client_auth, signed_client_secret or none",
        ),
    }
    match (method, means.secret, means.key) {
        ("client_secret_basic", Some(secret), _) => ClientAuthentication::Basic(secret),
        ("client_secret_post", Some(secret), _) => ClientAuthentication::Post(secret),
        ("private_key_jwt", _, Some(key)) => ClientAuthentication::PrivateKeyJwt { key, audience: means.audience },
        ("signed_client_secret", _, Some(key)) => {
            ClientAuthentication::SignedSecret { key, issuer: means.secret_issuer.unwrap_or_default() }
        }
        _ if of_certificate => ClientAuthentication::MutualTls,
        _ => ClientAuthentication::None,
    }
}

fn read_secret(section: &mut Reader) -> Option<Secret<String>> {
    let secret = section.secret("client_secret");
    if secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
        section.fault("client_secret", "must not be empty");
    }
    secret
}

fn read_key(section: &mut Reader) -> Option<SigningKey> {
    let from = if section.has("client_key") { "client_key" } else { "client_key_file" };
    let pem = section.secret("client_key");
    let kid = section.optional::<String>("client_key_id");
    let named = section.optional::<String>("client_key_alg");
    let algorithm = named.as_deref().and_then(Algorithm::named);
    if named.is_some() && algorithm.is_none() {
        section.fault("client_key_alg", format!("must be one of {}", Algorithm::ALL.map(Algorithm::name).join(", ")));
        return None;
    }
    let key = SigningKey::from_pem(&pem?, algorithm, kid);
    key.map_err(|error| section.fault(from, error.to_string())).ok()
}

fn read_audience(section: &mut Reader) -> AssertionAudience {
    match section.or("client_assertion_audience", "issuer".to_owned()).as_str() {
        "issuer" => AssertionAudience::Issuer,
        "token_endpoint" => AssertionAudience::TokenEndpoint,
        _ => {
            section.fault("client_assertion_audience", "must be \"issuer\" or \"token_endpoint\"");
            AssertionAudience::Issuer
        }
    }
}

fn read_pushed_requests(section: &mut Reader) -> PushedRequests {
    let Some(name) = section.optional::<String>("pushed_authorization_requests") else { return PushedRequests::Auto };
    PushedRequests::ALL.into_iter().find(|known| known.name() == name).unwrap_or_else(|| {
        section.fault("pushed_authorization_requests", "must be \"auto\", \"always\" or \"never\"");
        PushedRequests::Auto
    })
}

fn read_tls(section: &mut Reader) -> TlsSettings {
    let authorities = section.file("ca_file");
    let (has_certificate, has_key) = (section.has("tls_client_cert_file"), section.has("tls_client_key_file"));
    let (certificate, key) = (section.file("tls_client_cert_file"), section.file("tls_client_key_file"));
    if has_certificate != has_key {
        let lacking = if has_key { "tls_client_cert_file" } else { "tls_client_key_file" };
        section.fault(lacking, "is missing: a certificate and its key belong together");
    }
    let identity = certificate.zip(key.map(Secret::new));
    let identity = identity.map(|(certificate, key)| Secret::new(format!("{certificate}\n{}", key.expose())));
    // Each alone, so that the fault names the right file.
    let usable = |tls: &TlsSettings| ProviderHttp::new(Duration::from_secs(1), tls, None).is_ok();
    let mut tls = TlsSettings { authorities, identity: None };
    if tls.authorities.as_deref().is_some_and(|pem| !pem.contains("BEGIN CERTIFICATE")) || !usable(&tls) {
        section.fault("ca_file", "holds no certificate authorities in PEM");
        tls.authorities = None;
    }
    tls.identity = identity;
    if tls.identity.is_some() && !usable(&tls) {
        section.fault("tls_client_cert_file", "and tls_client_key_file are no certificate and its private key in PEM");
    }
    tls
}

fn read_dpop(section: &mut Reader) -> Option<DpopSettings> {
    let wanted = section.or("dpop", false);
    let key_is_shared = section.has("dpop_key_file");
    let pem = section.file("dpop_key_file").map(Secret::new);
    if !wanted {
        if key_is_shared {
            section.fault("dpop_key_file", "is of no use without dpop = true");
        }
        return None;
    }
    let key = match &pem {
        Some(pem) => SigningKey::from_pem(pem, Some(Algorithm::ES256), None),
        None if key_is_shared => return None,
        None => SigningKey::generate(),
    };
    let key = key.map_err(|error| section.fault("dpop_key_file", format!("{error} (ES256 is needed)"))).ok()?;
    Some(DpopSettings { key, key_is_shared })
}
