//! Verifies signed tokens: header, signature, issuer, and the claims that all kinds of token share. Pure.

pub(crate) mod algorithm;
pub(crate) mod fault;
pub mod header;
pub(crate) mod issuer;
pub mod jwks;
pub mod jwt;
pub(crate) mod registered_claims;
