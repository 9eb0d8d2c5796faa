//! The guard: which requests may pass to the back office, and as whom.
//!
//! A request's path is read once ([`request_target`]), and in every way in which others might; the first route that matches
//! all of them says who may pass ([`route`], [`access`]); the session behind its cookie is asked for ([`presented`]) and, when that is due, renewed
//! with its provider ([`renewal`]); and [`require_session`] puts it all together as a middleware. What passes carries
//! [`Admitted`](require_session::Admitted) in its extensions; handlers take a
//! [`CurrentUser`](current_user::CurrentUser).

pub mod access;
pub mod current_user;
pub mod presented;
mod reading;
pub mod renewal;
pub mod request_target;
pub mod require_session;
pub mod route;
pub mod visitor;
