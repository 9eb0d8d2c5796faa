//! Who we are at the provider, and how we prove it.

use crate::config::reader::Reader;
use crate::idp::token_exchange::ClientAuthentication;
use crate::secret::Secret;

/// Our name at the provider and the proof of it.
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: Option<Secret<String>>,
    pub(super) authentication: ClientAuthentication,
}

pub(super) fn read(section: &mut Reader) -> Client {
    let id = section.required::<String>("client_id");
    // A secret whose file cannot be read is its own fault, not a missing one.
    let has_secret = section.has("client_secret") || section.has("client_secret_file");
    let secret = section.secret("client_secret");
    if id.as_deref() == Some("") {
        section.fault("client_id", "must not be empty");
    }
    if secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
        section.fault("client_secret", "must not be empty");
    }
    let authentication = read_authentication(section, has_secret);
    Client { id: id.unwrap_or_default(), secret, authentication }
}

fn read_authentication(section: &mut Reader, has_secret: bool) -> ClientAuthentication {
    let method = section.optional::<String>("token_endpoint_auth_method");
    match (method.as_deref(), has_secret) {
        (None | Some("client_secret_basic"), true) => ClientAuthentication::Basic,
        (Some("client_secret_post"), true) => ClientAuthentication::Post,
        (Some("none"), false) => ClientAuthentication::None,
        (Some("client_secret_basic" | "client_secret_post") | None, false) => {
            section.fault("client_secret", "is missing (for a public client: token_endpoint_auth_method = \"none\")");
            ClientAuthentication::None
        }
        (Some(_), _) => {
            let problem = "must be client_secret_basic, client_secret_post, or none without client_secret";
            section.fault("token_endpoint_auth_method", problem);
            ClientAuthentication::None
        }
    }
}
