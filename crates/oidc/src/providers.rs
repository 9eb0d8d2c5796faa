//! Requests beyond the standard that some providers need before a person is fully identified.
//!
//! A preset is data (`config/presets/*.toml`) in the keys that everybody may write. Everything beyond data is one small
//! function each, here: it asks the provider's own API, at an address from the configuration and never one from an
//! answer, and adds what it learns to the claims or the profile under plain names. If a part cannot be fetched, the
//! login fails.

pub(crate) mod api;
pub(crate) mod bitbucket;
pub(crate) mod entra;
pub(crate) mod github;
pub(crate) mod list;

use serde_json::{Map, Value};

use crate::providers::api::{Api, ProfileApiError, ProfileApiKind};

/// Asks for the attributes that the provider's claims or profile lack, and adds them.
pub(crate) async fn complete(
    kind: ProfileApiKind,
    api: Api<'_>,
    profile: &mut Map<String, Value>,
) -> Result<(), ProfileApiError> {
    match kind {
        ProfileApiKind::GitHub => github::complete(api, profile).await,
        ProfileApiKind::Bitbucket => bitbucket::complete(api, profile).await,
        ProfileApiKind::MicrosoftGraph => entra::complete(api, profile).await,
    }
}
