//! The parts that every page and endpoint of the broker shares: cookies, headers, languages, pages, return paths.
//!
//! Knows HTTP and nothing of sessions or providers. Each file owns one duty and is used by the rooms above.

pub mod assets;
pub mod branding;
pub mod client_address;
pub mod cookies;
pub mod csrf;
pub mod failure;
pub mod form;
pub mod language;
pub mod navigation;
pub mod page;
pub mod public_url;
pub mod query;
pub mod redirect;
pub mod request_body;
pub mod request_id;
pub mod return_to;
pub mod security_headers;
