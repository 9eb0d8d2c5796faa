//! What tests stand on: a broker, a browser, and everything around them.

pub mod broker;
pub mod browser;
pub mod child;
pub mod cut_proxy;
pub mod program;
pub mod redis;
pub mod scripted_idp;
pub mod upstream;
