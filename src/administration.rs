//! The parts that the API and the terminal share when they list sessions and end them.
//!
//! [`rights`] says who may, [`session_view`] what they see, [`revocation`] what is written down of it, and
//! [`durations`] how spans of time are read and written.

pub mod durations;
pub mod revocation;
pub mod rights;
pub mod session_view;
