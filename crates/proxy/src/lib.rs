//! The reverse proxy behind the guard: plain HTTP/1.1 to the route's upstream.
//!
//! [`forward`] carries a request that the guard let pass; `headers` decides what travels with it, by the table in
//! [`names`], and [`paths`] which path the upstream is asked for; [`upstream`] is where it goes, and [`pool`] keeps the
//! connections there; `answer` checks the upstream's answer. [`upgrade`] switches a connection to another protocol, `tunnel`
//! carries its bytes, and [`streams`] ends it with its session. The upstream's address comes from the configuration alone
//! (R-K06).

#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod answer_stream;
pub mod error;
mod expectation;
pub mod forward;
mod frames;
mod headers;
mod identity;
pub mod names;
pub mod paths;
pub mod pool;
pub mod streams;
pub mod tls;
mod tunnel;
pub mod upgrade;
pub mod upstream;
