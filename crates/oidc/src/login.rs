//! Writes the messages of a login that go through the browser, and reads the answers. What is pushed beforehand goes through
//! `client`.

pub(crate) mod attempt;
pub(crate) mod authorization;
pub(crate) mod logout_request;
pub(crate) mod push_policy;
pub(crate) mod pushed_request;
pub(crate) mod request_object;
pub(crate) mod request_parameters;
pub(crate) mod request_settings;
pub mod response_token;
pub(crate) mod settings;
