//! Makes the identity of a person from verified claims or a profile.

pub(crate) mod access_token;
pub(crate) mod attributes;
pub(crate) mod email_address;
pub(crate) mod groups;
pub mod id_token;
pub(crate) mod mapping;
pub mod profile;
pub(crate) mod settings;
pub mod userinfo;
