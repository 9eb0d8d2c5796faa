//! Checks the notices that a provider sends by itself: logout tokens and security events. Pure.

pub(crate) mod event_type;
pub mod logout_token;
pub mod security_event;
pub(crate) mod settings;
pub(crate) mod subject;
