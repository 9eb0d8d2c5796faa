//! The composition root: [`App::build`] makes every part from a configuration, [`App::site`] puts the layers;
//! [`server`] runs them.
//!
//! A request goes through the layers of [`site`], which alone has them in their order, then through `routes` or the guard.

mod access_log;
mod admission;
pub mod operations;
pub mod server;
pub mod site;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::handler::Handler;
use counterfoil_core::backoff::Backoff;
use futures_util::future::join_all;
use thiserror::Error;

use crate::account::Account;
use crate::administration::rights::AdminRights;
use crate::api::Api;
use crate::audit::{AuditEvent, audit};
use crate::clock::SharedClock;
use crate::config::{ServerSettings, Settings};
use crate::guard::layer::{Guard, GuardParts};
use crate::guard::route::RouteTable;
use crate::idp::{HttpError, Misfit, MovedEndpoint, Needs, Provider, ProviderSettings, Weight};
use crate::login::Login;
use crate::login::pending::PendingLogins;
use crate::login::session_limit::GrantSealer;
use crate::login::way_back::WaysBack;
use crate::logout::Logout;
use crate::logout::rejected_notices::RejectedNotices;
use crate::proxy::forward::{Proxy, forward};
use crate::respond::Responder;
use crate::revalidation::Renewals;
use crate::routes::{self, Handlers};
use crate::secret::keyring::Keyring;
use crate::session::Sessions;
use crate::session::store::SessionBackend;
use crate::web::cookies;
use crate::web::csrf::CsrfTokens;
use crate::web::paths::PATHS;
use crate::web::request_body::BodyLimits;

use self::admission::Admission;
use self::operations::Operations;
use self::site::{BackOffice, Site};

/// First pause after a provider could not be reached; it doubles from then on.
const FIRST_PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// Longest wait between two attempts at a provider that was never reached.
const LONGEST_PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Delay between loading a new first key and sealing with it: long enough to reload every replica.
pub const KEY_ACTIVATION: Duration = Duration::from_mins(1);

/// The outside world, as the broker sees it.
#[derive(Debug, Clone)]
pub struct Dependencies {
    /// The time.
    pub clock: SharedClock,
    /// The store of sessions.
    pub store: Arc<dyn SessionBackend>,
}

/// The reason that a valid configuration cannot be run on this machine.
#[derive(Debug, Error)]
pub enum BuildError {
    /// No client for providers.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// No client for upstreams.
    #[error("no client for upstreams can be built: {0}")]
    Proxy(#[from] std::io::Error),
}

/// The whole broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    rooms: Handlers,
    guard: Guard,
    proxy: Proxy,
    responder: Responder,
    admission: Admission,
    operations: Operations,
    providers: Arc<[Provider]>,
    body_limits: BodyLimits,
    reloadable: Reloadable,
}

/// The parts that a reload changes.
#[derive(Debug, Clone)]
struct Reloadable {
    keyring: Keyring,
    sessions: Sessions,
    rights: Arc<ArcSwap<AdminRights>>,
}

impl App {
    /// Makes every part, in a Tokio runtime. Makes no requests yet: store and providers may be down.
    ///
    /// # Errors
    /// [`BuildError`] if this machine lacks what HTTPS needs.
    pub fn build(settings: Settings, ports: Dependencies) -> Result<Self, BuildError> {
        let Dependencies { clock, store } = ports;
        let ServerSettings { body_limits, upstream_timeout, .. } = settings.server;
        audit(&AuditEvent::ConfigurationLoaded { idps: settings.idps.len(), routes: settings.routes.len() });
        let public_url = Arc::new(settings.public_url);
        let branding = Arc::new(settings.branding);
        let cookies = Arc::new(cookies::policy(&public_url, settings.cookie_name));
        let routes = Arc::new(RouteTable::new(settings.routes, &PATHS));
        let keyring = settings.keyring;
        let clock_skew = settings.idps.iter().filter_map(ProviderSettings::clock_skew).max().unwrap_or_default();
        let sessions = Sessions::new(store, &keyring, settings.rules, settings.near_cache, clock.clone());
        sessions.maintenance().spawn();
        let csrf = Arc::new(CsrfTokens::new(&keyring));
        let rights = Arc::new(ArcSwap::from_pointee(settings.admin));
        let providers: Arc<[Provider]> = settings
            .idps
            .into_iter()
            .map(|idp| {
                let redirect_uri = public_url.with_path(&format!("/sso/callback/{}", idp.name));
                Provider::new(idp, redirect_uri, clock.clone())
            })
            .collect::<Result<_, _>>()?;
        providers.iter().for_each(|provider| provider.report_moves(audit_move));
        let renewals = Renewals::new(sessions.clone(), &providers, clock.clone());
        let rooms = Handlers {
            login: Login {
                providers: providers.clone(),
                default_provider: settings.default_idp.map(Into::into),
                pending: Arc::new(PendingLogins::new(&keyring)),
                ways_back: Arc::new(WaysBack::new(&keyring)),
                grants: Arc::new(GrantSealer::new(&keyring)),
                csrf: csrf.clone(),
                public_url: public_url.clone(),
                sessions: sessions.clone(),
                cookies: cookies.clone(),
                routes: routes.clone(),
                branding: branding.clone(),
                clock: clock.clone(),
            },
            logout: Logout {
                providers: providers.clone(),
                sessions: sessions.clone(),
                cookies: cookies.clone(),
                csrf: csrf.clone(),
                public_url: public_url.clone(),
                branding: branding.clone(),
                refusals: Arc::new(RejectedNotices::new(clock.clone())),
            },
            account: Account {
                sessions: sessions.reader(),
                renewals: renewals.clone(),
                cookies: cookies.clone(),
                csrf: csrf.clone(),
            },
            api: Api {
                sessions: sessions.administration(),
                reader: sessions.reader(),
                renewals: renewals.clone(),
                cookies: cookies.clone(),
                csrf,
                public_url: public_url.clone(),
                rights: rights.clone(),
            },
        };
        let guard = GuardParts {
            routes,
            sessions: sessions.reader(),
            revalidator: Arc::new(renewals),
            cookies: cookies.clone(),
            clock,
            clock_skew,
            public_url: public_url.clone(),
            paths: PATHS,
        };
        Ok(Self {
            rooms,
            guard: Guard::from(guard),
            proxy: Proxy::new(
                cookies,
                &public_url,
                upstream_timeout,
                settings.upstreams,
                settings.stripped,
                settings.streams,
            )?,
            responder: Responder { branding, public_url: public_url.clone() },
            admission: Admission {
                public_url,
                trusted_proxies: Arc::new(settings.trusted_proxies),
                takes_request_ids: settings.server.request_id_from_trusted_proxies,
            },
            operations: Operations::new(sessions.maintenance(), providers.clone()),
            providers,
            body_limits,
            reloadable: Reloadable { keyring, sessions, rights },
        })
    }

    /// Applies the settings that can change at run time: the server's keys, the rules of sessions, the administrators.
    /// Metadata and keys of the providers are fetched anew, and endpoints may be at other hosts than before. A new key
    /// in front opens at once and seals after [`KEY_ACTIVATION`], so that every replica knows it by then.
    pub fn reload(&self, settings: Settings) {
        let Reloadable { keyring, sessions, rights } = &self.reloadable;
        let version = keyring.replace(&settings.keyring);
        let maintenance = sessions.maintenance();
        maintenance.configure(settings.rules);
        rights.store(Arc::new(settings.admin));
        audit(&AuditEvent::ConfigurationLoaded { idps: settings.idps.len(), routes: settings.routes.len() });
        for provider in &*self.providers {
            let provider = provider.clone();
            tokio::spawn(async move { provider.renew_documents().await });
        }
        let keyring = keyring.clone();
        tokio::spawn(async move {
            // The outcome of both is logged, and looked at again every minute.
            let _ = maintenance.claim_store().await;
            tokio::time::sleep(KEY_ACTIVATION).await;
            keyring.seal_under_the_newest(version);
            let _ = maintenance.renew_store_claim().await;
        });
    }

    /// Ends WebSockets and their like, one after the other within so long: the process ends.
    pub fn end_streams(&self, within: Duration) {
        self.proxy.end_streams(within);
    }

    /// The public site with the configured upstreams behind the guard.
    pub fn site(&self) -> Site<impl BackOffice + use<>> {
        self.in_front_of(forward.with_state(self.proxy.clone()))
    }

    /// The public site with an application of yours behind the guard, in this process: an axum router, say. The routes of
    /// the configuration decide who may pass; handlers take a `CurrentUser`.
    pub fn in_front_of<S: BackOffice>(&self, back_office: S) -> Site<S> {
        let (admission, responder) = (self.admission.clone(), self.responder.clone());
        let own = routes::own(self.rooms.clone(), self.responder.public_url.is_https());
        Site::new(admission, responder, self.body_limits, own, &self.guard, back_office)
    }

    /// The operators' site, for a port of its own.
    pub fn operations_router(&self) -> Router {
        self.operations.router()
    }

    /// The state that `/readyz` reports, and the switch that makes it false at shutdown.
    pub fn operations(&self) -> &Operations {
        &self.operations
    }

    /// The sessions, for code that embeds the broker: to end the sessions of somebody, say.
    pub fn sessions(&self) -> &Sessions {
        &self.reloadable.sessions
    }

    /// Revokes at the providers what is still held of the tokens of people who signed out, and waits at most `patience` for that. For
    /// the end of the process.
    pub async fn finish_revocations(&self, patience: Duration) {
        join_all(self.providers.iter().map(|provider| provider.finish_revocations(patience))).await;
    }

    /// Asks each provider for its metadata until it answers once, in the background, so that the first login need not
    /// wait and `/readyz` recovers by itself.
    pub fn probe_providers(&self) {
        for provider in &*self.providers {
            let provider = provider.clone();
            tokio::spawn(async move {
                let mut backoff = Backoff::new(FIRST_PROBE_INTERVAL, LONGEST_PROBE_INTERVAL);
                while let Err(error) = provider.probe().await {
                    tracing::warn!(idp = provider.name(), %error, "an identity provider cannot be used yet");
                    tokio::time::sleep(backoff.pause()).await;
                }
                tracing::info!(idp = provider.name(), "an identity provider is ready");
                // `check` reports these too, but not everybody runs it. That the metadata are known was just seen.
                let misfits = provider.misfits(&Needs::default()).await.unwrap_or_default();
                for Misfit { key, problem, .. } in
                    misfits.into_iter().filter(|misfit| misfit.weight != Weight::Possible)
                {
                    tracing::warn!(idp = provider.name(), key, %problem, "a setting does not fit what the provider offers");
                }
            });
        }
    }
}

fn audit_move(idp: &str, moved: &MovedEndpoint, confirmed: bool) {
    let MovedEndpoint { name: endpoint, from, to } = moved;
    let from = from.as_deref().unwrap_or("nowhere");
    audit(&if confirmed {
        AuditEvent::EndpointMoved { idp, endpoint, from, to }
    } else {
        AuditEvent::EndpointMoveRefused { idp, endpoint, from, to }
    });
}
