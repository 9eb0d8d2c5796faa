//! Writes the messages of a login that go through the browser, and reads the answers.

pub(crate) mod authorization;
pub(crate) mod pushed_request;
pub(crate) mod request_object;
pub(crate) mod request_parameters;
pub mod response_token;
