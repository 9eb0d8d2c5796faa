//! Verifies signed tokens: the keys that may sign, the signature, and the claims that all kinds of token share.

pub mod jwks;
pub mod jwt;
pub(crate) mod registered_claims;
pub(crate) mod signature;
