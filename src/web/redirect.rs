//! Sending a browser somewhere else, or failing to.

use axum::response::Response;

use super::failure::Failure;
use crate::guard::redirect;

pub use crate::guard::redirect::fits_every_proxy;

/// An answer that sends the browser to `location`, which must be one of ours or checked.
///
/// # Errors
/// [`Failure`]: 500 if it cannot stand in a header.
pub fn see_other(location: &str) -> Result<Response, Failure> {
    redirect::see_other(location).map_err(Failure::from)
}
