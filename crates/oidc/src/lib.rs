//! The identity provider's side: the relying party of OpenID Connect, and the client of plain OAuth 2.0.
//!
//! [`Provider`] is the one door: `login` starts and finishes attempts with it, `logout` asks it where the provider's
//! own session ends. Knows nothing of browsers, cookies or sessions.

mod answer;
mod claims;
mod client;
mod discovery;
mod error;
mod login;
mod notices;
mod provider;
mod providers;
mod tokens;
mod verification;

#[doc(hidden)]
pub mod parsers;

pub use self::answer::provider_words::{ProviderWords, Spoken};
pub use self::claims::profile::{GroupsAs, ProfileFault, ProfileMapping, RequiredClaim};
pub use self::claims::userinfo::{UserinfoError, UserinfoUse};
pub use self::client::client_authentication::{AssertionAudience, ClientAuthentication};
pub use self::client::dpop::DpopSettings;
pub use self::client::http::{HttpError, ProviderHttp, TlsSettings};
pub use self::client::proxy::{NoProxyAddress, ProviderProxy};
pub use self::client::signing_key::{SigningKey, SigningKeyError};
pub use self::discovery::metadata::{GivenEndpoints, Metadata, MetadataSource, check_authorization_endpoint};
pub use self::discovery::moved::{MoveObserver, MovedEndpoint};
pub use self::discovery::offers::{Misfit, Needs, Offers, Weight};
pub use self::error::IdpError;
pub use self::login::authorization::{Attempt, AuthorizationAnswer, IssuerMismatch, LoginOptions};
pub use self::login::pushed_request::{PushedRequestError, PushedRequests};
pub use self::login::request_parameters::{Prompt, RequestSettings, ResponseMode, acceptable_hint, is_reserved};
pub use self::login::response_token::peek_state;
pub use self::notices::logout_token::{LogoutNotice, Meant, NoticeError};
pub use self::notices::security_event::{Occurrence, SecurityEvent, SharedSignals, Tiding};
pub use self::notices::subject::Meant as EventSubject;
pub use self::provider::end_session::{LogoutMethod, LogoutRequest};
pub use self::provider::finish::SignedIn;
pub use self::provider::refresh::{Refreshed, StoredGrant};
pub use self::provider::settings::{AuthTime, IdpKind, IdpSettings, OAuth2Settings, OidcSettings};
pub use self::provider::trial::Trial;
pub use self::provider::verdict::{RenewalError, Verdict};
pub use self::provider::{Health, Provider};
pub use self::providers::{ANY_TENANT, ProfileApi, ProfileApiError, ProfileApiKind};
pub use self::tokens::exchange::{ProviderTokens, TokenExchangeError};
pub use self::verification::jwks::{ALGORITHMS, name as algorithm_name};
pub use self::verification::jwt::{JwtFault, OtherIssuer};
