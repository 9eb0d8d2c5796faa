//! The reverse proxy behind the guard: plain HTTP/1.1 to the route's upstream.
//!
//! [`forward`] carries a request that the guard let pass; [`headers`] decides what travels with it. The
//! upstream's address comes from the configuration alone (R-K06).

pub mod forward;
pub mod headers;
