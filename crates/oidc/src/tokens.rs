//! Exchanges codes and refresh tokens at the token endpoint.

pub(crate) mod answer;
pub(crate) mod exchange;
