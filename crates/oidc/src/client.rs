//! Sends requests to a provider: the HTTP client, its bounds, and client authentication.

pub(crate) mod address_class;
pub(crate) mod back_channel;
pub(crate) mod client_authentication;
pub(crate) mod document;
pub(crate) mod dpop;
pub(crate) mod freshness;
pub(crate) mod http;
pub(crate) mod http_error;
pub(crate) mod json;
pub(crate) mod proxy;
pub(crate) mod reserved_parameters;
pub(crate) mod settings;
pub(crate) mod signing_key;
