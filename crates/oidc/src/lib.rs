//! The identity provider's side: the relying party of OpenID Connect, and the client of plain OAuth 2.0.
//!
//! [`Provider`] is the entry point: `login` starts and finishes attempts with it, `logout` asks it where the provider's
//! own session ends. Knows nothing of browsers, cookies or sessions.

#![cfg_attr(docsrs, feature(doc_cfg))]

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

pub use self::answer::provider_words::ProviderWords;
pub use self::answer::reason::Spoken;
pub use self::claims::mapping::{GroupsAs, ProfileFault, ProfileMapping, RequiredClaim};
pub use self::claims::settings::ClaimSettings;
pub use self::claims::userinfo::{UserinfoError, UserinfoUse};
pub use self::client::client_authentication::{AssertionAudience, ClientAuthentication};
pub use self::client::dpop::DpopSettings;
pub use self::client::http::{ProviderHttp, TlsSettings};
pub use self::client::http_error::{HttpError, TransportError};
pub use self::client::proxy::{NoProxyAddress, ProviderProxy};
pub use self::client::reserved_parameters::is_reserved;
pub use self::client::settings::ClientSettings;
pub use self::client::signing_key::{SigningKey, SigningKeyError};
pub use self::discovery::document::{GivenEndpoints, MetadataSource, check_authorization_endpoint};
pub use self::discovery::keys::KeysUnavailable;
pub use self::discovery::metadata::Metadata;
pub use self::discovery::moved::{MoveObserver, MovedEndpoint};
pub use self::discovery::offers::Offers;
pub use self::discovery::settings::DiscoverySettings;
pub use self::error::{ErrorClass, IdpError};
pub use self::login::attempt::{Attempt, LoginOptions};
pub use self::login::authorization::{AuthorizationAnswer, IssuerMismatch};
pub use self::login::logout_request::{LogoutMethod, LogoutRequest};
pub use self::login::push_policy::PushedRequests;
pub use self::login::pushed_request::PushedRequestError;
pub use self::login::request_parameters::acceptable_hint;
pub use self::login::request_settings::{Prompt, RequestSettings, ResponseMode};
pub use self::login::response_token::peek_state;
pub use self::login::settings::LoginSettings;
pub use self::notices::event_type::EventType;
pub use self::notices::logout_token::{LogoutNotice, Meant};
pub use self::notices::security_event::{SecurityEvent, SecurityEventToken};
pub use self::notices::settings::NoticeSettings;
pub use self::notices::settings::SharedSignals;
pub use self::notices::subject::Meant as EventSubject;
pub use self::provider::finish::SignedIn;
pub use self::provider::misfits::{Misfit, Needs, Weight};
pub use self::provider::notices::NoticeError;
pub use self::provider::refresh::{Refreshed, StoredGrant};
pub use self::provider::settings::RefreshSettings;
pub use self::provider::settings::{AuthTime, IdpKind, OAuth2Settings, OidcSettings, ProviderSettings};
pub use self::provider::trial::Trial;
pub use self::provider::verdict::{RenewalError, Verdict};
pub use self::provider::{Health, Provider};
pub use self::providers::api::{ProfileApi, ProfileApiError, ProfileApiKind};
pub use self::tokens::exchange_error::TokenExchangeError;
pub use self::tokens::provider_tokens::ProviderTokens;
pub use self::verification::algorithm::Algorithm;
pub use self::verification::fault::{JwtFault, OtherIssuer};
pub use self::verification::issuer::{ANY_TENANT, IssuerPattern};
