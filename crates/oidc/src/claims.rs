//! Tells who somebody is, by verified claims or a profile.

pub(crate) mod access_token;
pub mod id_token;
pub mod profile;
pub mod userinfo;
