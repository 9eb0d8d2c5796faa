//! `counterfoil keys …`

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;

use crate::secret::keyring::KEY_BYTES;
use crate::secret::random_bytes;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a fresh secret key for `secrets.keys`
    Generate,
}

pub(super) fn run(command: &Command) {
    match command {
        Command::Generate => println!("{}", STANDARD.encode(random_bytes::<KEY_BYTES>())),
    }
}
