//! The settings of what a provider publishes about itself.

/// One provider's documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiscoverySettings {
    /// True if the metadata may name addresses of other networks than the issuer's.
    pub private_addresses: bool,
}
