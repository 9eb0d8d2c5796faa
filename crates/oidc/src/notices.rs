//! Checks the notices that a provider sends by itself: logout tokens and security events. Pure.

pub mod logout_token;
pub(crate) mod occurrence;
pub mod security_event;
pub(crate) mod settings;
pub(crate) mod subject;
