//! Questions beyond the standard that some providers have to be asked before they have said who somebody is.
//!
//! A preset is data (`config/presets/*.toml`) in the keys that everybody may write. What data cannot say is one small
//! function each, here: it asks the provider's own API, at an address from the configuration and never one from an
//! answer, and adds what it learns to the claims or the profile under plain names. A part that cannot be had is a
//! failed login, never a login with less.

pub(crate) mod api;
pub(crate) mod bitbucket;
pub(crate) mod entra;
pub(crate) mod github;
pub(crate) mod list;

use serde_json::{Map, Value};

use crate::providers::api::{Api, ProfileApiError, ProfileApiKind};

/// Asks whatever the provider's claims or profile do not say, and adds it to them.
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
