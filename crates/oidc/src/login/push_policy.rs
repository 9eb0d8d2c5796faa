//! The policy on pushing authorization requests (RFC 9126).

/// The policy on pushing requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PushedRequests {
    /// Requests are pushed if the provider offers it.
    #[default]
    Auto,
    /// At every login; a provider without it is not used.
    Always,
    /// At no login; a provider that demands it is not used.
    Never,
}

impl PushedRequests {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Always, Self::Never];

    /// Returns its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}
