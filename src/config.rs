//! Configuration: one TOML file, and the environment over it.
//!
//! `COUNTERFOIL_` and the key's path, levels joined by `__`, sets any value
//! (`COUNTERFOIL_SESSION__IDLE_TIMEOUT=15m`, `COUNTERFOIL_ROUTE__0__PATH=/`); lists are separated by commas; a
//! `.env` file counts as environment. All faults are reported together, each with its key and never with a
//! secret's value. The settings structs belong to the rooms that use them; only this module knows files and
//! variables.

mod admin;
mod branding;
mod dotenv;
mod idp;
mod log;
mod network;
pub mod presets;
mod proxy;
mod reader;
mod route;
mod secrets;
mod server;
mod session;
mod store;
mod streams;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use thiserror::Error;

use crate::administration::rights::AdminRights;
use crate::guard::route::Route;
use crate::idp::ProviderSettings;
use crate::proxy::names::StrippedNames;
use crate::proxy::streams::StreamLimits;
use crate::proxy::upstream::UpstreamSettings;
use crate::secret::keyring::Keyring;
use crate::session::NearCacheSettings;
use crate::session::policy::SessionRules;
use crate::telemetry::LogSettings;
use crate::web::branding::Branding;
use crate::web::client_address::TrustedProxies;
use crate::web::public_url::PublicUrl;

use self::reader::Reader;

pub use self::server::ServerSettings;
pub use self::store::StoreSettings;

/// Begins every environment variable that is ours.
const PREFIX: &str = "COUNTERFOIL_";
/// The one of them that sets a value outside any section. Others without `__` are not ours: Kubernetes sets
/// `COUNTERFOIL_PORT` and the like for a service of this name.
const PUBLIC_URL: &str = "COUNTERFOIL_PUBLIC_URL";

/// A whole configuration, checked.
#[derive(Debug)]
pub struct Settings {
    /// The one origin that browsers see.
    pub public_url: PublicUrl,
    /// Ports and limits.
    pub server: ServerSettings,
    /// The proxies whose forwarding headers count.
    pub trusted_proxies: TrustedProxies,
    /// The server's keys.
    pub keyring: Keyring,
    /// The place where sessions are kept.
    pub store: StoreSettings,
    /// The session cookie's name, if not the default.
    pub cookie_name: Option<String>,
    /// The lifetimes of sessions, and the limit on their number.
    pub rules: SessionRules,
    /// The part of the store that is kept in this process.
    pub near_cache: NearCacheSettings,
    /// The rights to look at sessions and to end them.
    pub admin: AdminRights,
    /// The identity providers, by name.
    pub idps: Vec<ProviderSettings>,
    /// The provider that is meant when none is named; without one, people choose.
    pub default_idp: Option<String>,
    /// The routes, in order.
    pub routes: Vec<Route>,
    /// The upstreams that the routes lead to.
    pub upstreams: Vec<UpstreamSettings>,
    /// The header fields that do not cross the proxy.
    pub stripped: StrippedNames,
    /// The bounds of connections that stay open.
    pub streams: StreamLimits,
    /// The operator's words for the pages.
    pub branding: Branding,
    /// The level and format of the logs.
    pub log: LogSettings,
    /// Notes on valid settings that should be known: settings without effect, sessions kept in memory.
    pub warnings: Vec<String>,
}

/// The source of a configuration.
#[derive(Debug, Default)]
pub struct Source {
    /// The TOML file's content.
    pub file: Option<String>,
    /// Environment variables; those of other programs do no harm.
    pub environment: BTreeMap<String, String>,
    /// The faults of the source itself, to be reported with everything else.
    pub faults: Vec<Fault>,
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key, dotted.
    pub key: String,
    /// The problem, and its remedy.
    pub problem: String,
}

/// Everything wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(|fault| format!("{}: {}", fault.key, fault.problem)).collect();
        formatter.write_str(&lines.join("\n"))
    }
}

/// The reason that a source cannot be read at all.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The file is not there or not readable.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// The system's reason.
        cause: std::io::Error,
    },
}

impl Source {
    /// The process's own source: a file if named, a `.env` in the working directory, the environment.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn of_process(file: Option<&Path>) -> Result<Self, SourceError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|cause| SourceError::File { path: path.display().to_string(), cause })
        };
        let dotenv = Path::new(".env");
        let dotenv = if dotenv.is_file() { read(dotenv)? } else { String::new() };
        let (mut environment, faults) = dotenv::read(&dotenv);
        // Variables that are no Unicode are not ours.
        let own =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        environment.extend(own);
        Ok(Self { file: file.map(read).transpose()?, environment, faults })
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`Faults`], all of them at once.
    pub fn settings(&self) -> Result<Settings, Faults> {
        self.read(|reader| settings(reader, &self.environment))
    }

    /// Reads and checks what a reviewer at a terminal needs: the store, the keys, the timeouts.
    ///
    /// # Errors
    /// [`Faults`], all of them at once.
    pub fn review_settings(&self) -> Result<ReviewSettings, Faults> {
        self.read(review_settings)
    }

    fn read<T>(&self, read: impl FnOnce(&mut Reader) -> Option<T>) -> Result<T, Faults> {
        let is_ours = |name: &str| name.starts_with(PREFIX) && (name.contains("__") || name == PUBLIC_URL);
        let ours = self.environment.iter().filter(|(name, _)| is_ours(name));
        let ours = ours.map(|(name, value)| (name[PREFIX.len()..].to_ascii_lowercase(), value.as_str()));
        let mut ours: Vec<_> = ours.collect();
        // Numbered sections in the order of their numbers: 2 before 10.
        ours.sort_by_key(|(path, _)| path.split("__").map(|key| format!("{key:0>8}")).collect::<Vec<_>>());
        let mut reader = Reader::new(self.file.as_deref(), ours.into_iter())?;
        let settings = read(&mut reader);
        let mut faults = self.faults.clone();
        let asked = reader.asked();
        faults.extend(self.environment.keys().filter_map(|name| one_underscore(name, &asked)));
        faults.extend(reader.finish());
        match settings {
            Some(settings) if faults.is_empty() => Ok(settings),
            _ => Err(Faults(faults)),
        }
    }

    /// Every key that reading this source asks for, dotted, whether it is there or not: what may be written in it. Lists
    /// of sections have their numbers (`route[0].path`).
    ///
    /// # Errors
    /// [`Faults`] if the file is no TOML.
    pub fn keys(&self) -> Result<BTreeSet<String>, Faults> {
        let mut reader = Reader::new(self.file.as_deref(), std::iter::empty())?;
        let _ = settings(&mut reader, &BTreeMap::new());
        let keys = reader.asked();
        reader.finish();
        Ok(keys)
    }
}

/// The fault of a variable that names a key by single underscores, and would be ignored as another program's.
fn one_underscore(name: &str, asked: &BTreeSet<String>) -> Option<Fault> {
    let path = name.strip_prefix(PREFIX).filter(|path| !path.contains("__"))?.to_ascii_lowercase();
    let flat = |key: &str| key.replace(['.', '[', '-'], "_").replace(']', "");
    let key = asked.iter().find(|key| key.contains('.') && flat(key) == path)?;
    let variable = key.replace(['.', '['], "__").replace(']', "").to_ascii_uppercase();
    Some(Fault { key: name.to_owned(), problem: format!("levels are joined by two underscores: {PREFIX}{variable}") })
}

/// The settings for looking at sessions and ending them without being a broker.
#[derive(Debug)]
pub struct ReviewSettings {
    /// The server's keys.
    pub keyring: Keyring,
    /// The place where sessions are kept.
    pub store: StoreSettings,
    /// The lifetimes of sessions, unless other timeouts are stored.
    pub rules: SessionRules,
}

fn review_settings(reader: &mut Reader) -> Option<ReviewSettings> {
    let keyring = secrets::read(reader);
    let mut store_section = reader.section("store");
    store::read_near_cache(&mut store_section);
    let store = store::read(&mut store_section, &mut Vec::new());
    drop(store_section);
    // It is not asked here whether the cookie's name fits the public URL.
    let session = session::read(&mut reader.section("session"), None);
    // The rest is for the broker.
    reader.ignore_the_rest();
    Some(ReviewSettings { keyring: keyring?, store: store?, rules: session?.rules })
}

fn settings(reader: &mut Reader, environment: &BTreeMap<String, String>) -> Option<Settings> {
    let public_url = server::read_public_url(reader);
    let (server, trusted_proxies) = server::read(&mut reader.section("server"));
    let keyring = secrets::read(reader);
    let mut warnings = Vec::new();
    let mut store_section = reader.section("store");
    let near_cache = store::read_near_cache(&mut store_section);
    let store = store::read(&mut store_section, &mut warnings);
    drop(store_section);
    let session = session::read(&mut reader.section("session"), public_url.as_ref());
    let idp_names = reader.names_in("idp");
    let default_idp = idp::read_default(&mut reader.section("login"), &idp_names);
    let is_https = public_url.as_ref().is_none_or(PublicUrl::is_https);
    let proxy = network::read(&mut reader.section("network"), environment);
    let mut idps = idp::read(reader, is_https, &mut warnings);
    for idp in &mut idps {
        idp.client.proxy.clone_from(&proxy);
    }
    let (routes, upstreams) = route::read(reader, &idp_names, &idps, &mut warnings);
    let stripped = proxy::read(&mut reader.section("proxy"));
    let streams = streams::read(&mut reader.section("streams"), server.max_connections);
    let branding = branding::read(&mut reader.section("branding"));
    let log = log::read(&mut reader.section("log"));
    let admin = admin::read(&mut reader.section("admin"), &idp_names);
    let session = session?;
    Some(Settings {
        public_url: public_url?,
        server,
        trusted_proxies,
        keyring: keyring?,
        store: store?,
        cookie_name: session.cookie_name,
        rules: session.rules,
        near_cache,
        admin,
        idps,
        default_idp,
        routes,
        upstreams,
        stripped,
        streams,
        branding,
        log,
        warnings,
    })
}
