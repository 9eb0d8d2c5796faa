//! Everything that a demonstration needs beside the broker: a small identity provider and a sample back office.
//!
//! Used by `counterfoil demo` and by the tests; never part of a production configuration.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod back_office;
pub mod identity_provider;
