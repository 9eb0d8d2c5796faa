//! Checks the notices that a provider sends by itself: logout tokens and security events.

pub mod logout_token;
pub mod security_event;
pub(crate) mod subject;
