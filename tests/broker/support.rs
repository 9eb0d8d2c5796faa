//! The environment of tests: a broker, a browser, and everything around them.

pub mod administration;
pub mod broker;
pub mod browser;
pub mod captured_log;
pub mod certificates;
pub mod child;
pub mod connect_proxy;
pub mod counterpart;
pub mod cut_proxy;
pub mod front;
pub mod house;
pub mod keys;
pub mod lighttpd;
pub mod notices;
pub mod program;
pub mod raw;
pub mod redis;
pub mod redis_cluster;
pub mod redis_sentinel;
pub mod redis_tls;
pub mod scripted_idp;
pub mod sign_out;
pub mod silent_relay;
pub mod upstream;
pub mod websocket;
pub mod witness;
