//! Providers of others that take a program to install: Keycloak, and the example provider of zitadel/oidc.
//!
//! The second binary of this folder. `tests/providers.sh` installs the two and runs it; an ordinary test run, which
//! takes nothing but Debian's packages for granted, leaves it out.

#![expect(unreachable_pub, reason = "one binary: `pub` is for the other modules of it")]

#[expect(dead_code, unused_imports, reason = "the first binary needs more of it")]
mod support;

mod keycloak;
mod zitadel;
