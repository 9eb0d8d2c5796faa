//! `counterfoil keys …`

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use serde_json::json;

use super::CommandError;
use super::output::say;
use crate::idp::{Algorithm, SigningKey};
use crate::secret::keyring::KEY_BYTES;
use crate::secret::{Secret, random_bytes};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a fresh secret key for `secrets.keys`
    Generate,
    /// Print the public half of a client key (PKCS#8 PEM) as the JWK Set that a provider registers
    Jwks {
        /// The file that `client_key_file` names
        file: PathBuf,
        /// The value of `client_key_id`, if it is configured
        #[arg(long, value_name = "KID")]
        id: Option<String>,
        /// The value of `client_key_alg`, if it is configured
        #[arg(long, value_name = "ALG")]
        alg: Option<String>,
    },
}

pub(super) fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Generate => say(&STANDARD.encode(random_bytes::<KEY_BYTES>()))?,
        Command::Jwks { file, id, alg } => {
            let wrong = |problem: &dyn std::fmt::Display| CommandError::Usage(format!("{}: {problem}", file.display()));
            let named = |alg: String| Algorithm::named(&alg);
            let known =
                || CommandError::Usage(format!("--alg is one of {}", Algorithm::ALL.map(Algorithm::name).join(", ")));
            let algorithm = alg.map(|alg| named(alg).ok_or_else(known)).transpose()?;
            let pem = Secret::new(std::fs::read_to_string(&file).map_err(|error| wrong(&error))?);
            let key = SigningKey::from_pem(&pem, algorithm, id).map_err(|error| wrong(&error))?;
            say(&format!("{:#}", json!({ "keys": [key.registration()] })))?;
        }
    }
    Ok(())
}
