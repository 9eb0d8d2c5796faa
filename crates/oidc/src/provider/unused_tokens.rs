//! The tokens of a login that has brought no session yet.

use std::fmt;
use std::ops::Deref;

use tokio::runtime::Handle;

use crate::provider::Provider;
use crate::tokens::provider_tokens::ProviderTokens;

/// Tokens that nobody keeps. Dropped, they are revoked (RFC 7009), if the provider is to be told of logouts: a login may be
/// refused after its code was exchanged, or its browser may leave, and nobody else knows the tokens.
pub struct UnusedTokens {
    provider: Provider,
    tokens: Option<ProviderTokens>,
}

impl UnusedTokens {
    pub(crate) fn new(provider: &Provider, tokens: ProviderTokens) -> Self {
        Self { provider: provider.clone(), tokens: Some(tokens) }
    }

    /// Leaves the tokens as they are: a session has them, or the same person's next login begins at once.
    pub fn keep(mut self) {
        self.tokens = None;
    }
}

impl Deref for UnusedTokens {
    type Target = ProviderTokens;

    fn deref(&self) -> &ProviderTokens {
        self.tokens.as_ref().unwrap_or_else(|| unreachable!("only `keep`, which consumes this, takes them out"))
    }
}

impl Drop for UnusedTokens {
    fn drop(&mut self) {
        let Some(tokens) = self.tokens.take() else { return };
        // Without a runtime the process is about to end.
        if Handle::try_current().is_ok() {
            self.provider.revoke_tokens(tokens.refresh_token, tokens.access_token);
        }
    }
}

impl fmt::Debug for UnusedTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UnusedTokens").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}
