//! The parts that every page and endpoint of the broker shares: cookies, headers, languages, pages, return paths.
//!
//! Knows HTTP and nothing of sessions or providers. Each file owns one duty and is used by the modules above.

pub use counterfoil_guard::{
    client_address, navigation, problem, public_url, query, request_context, request_id, return_to, security_headers,
};

pub mod assets;
pub mod branding;
pub mod cookies;
pub mod csrf;
pub mod failure;
pub mod form;
pub mod language;
pub mod page;
pub mod paths;
pub mod redirect;
pub mod request_body;
