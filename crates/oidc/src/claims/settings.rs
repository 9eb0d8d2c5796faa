//! The settings by which a person is made of claims or a profile.

use crate::claims::mapping::{ProfileMapping, RequiredClaim};
use crate::providers::api::ProfileApi;

/// One provider's claims.
#[derive(Debug, Clone, Default)]
pub struct ClaimSettings {
    /// Places of the attributes in the claims or the profile.
    pub mapping: ProfileMapping,
    /// True if an e-mail address counts as verified although the provider does not say so.
    pub trust_email: bool,
    /// Claims that the ID token or the profile must have.
    pub required: Vec<RequiredClaim>,
    /// API of the provider that is asked for attributes missing from the claims or the profile.
    pub provider_api: Option<ProfileApi>,
}
