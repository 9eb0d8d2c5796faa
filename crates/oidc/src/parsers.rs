//! The readers of everything that a provider sends, for fuzzers and benchmarks. None of them is a stable interface.

pub use crate::claims::{id_token, profile, userinfo};
pub use crate::client::json::json_object;
pub use crate::discovery::document;
pub use crate::login::response_token;
pub use crate::notices::{logout_token, security_event};
pub use crate::verification::{header, jwks, jwt};
