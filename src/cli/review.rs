//! The parts that the reviewer's commands share: the arguments that select sessions, the store they are in, the question
//! before anything is done.

use std::io::{BufRead, IsTerminal};
use std::sync::Arc;
use std::time::Duration as StdDuration;

use clap::Args;
use ipnet::IpNet;
use time::{Duration, OffsetDateTime};

use super::output::ask;
use super::{CommandError, ConfigFile, failed};
use crate::administration::durations;
use crate::clock::SystemClock;
use crate::config::{Source, StoreSettings};
use crate::session::browser::BrowserKind;
use crate::session::filter::{Filter, PersonFilter, parse_network};
use crate::session::key::SessionHandle;
use crate::session::key_check::StoreOwner;
use crate::session::revocation::Selection;
use crate::session::{NearCacheSettings, SessionAdministration, Sessions};
use crate::telemetry::{self, LogFormat, LogSettings};

/// The refusal of a filter that would fit by accident.
pub(super) const NOT_SENSIBLE: &str = "a filter must say something: a name is empty, or an age is no time";

/// The refusal to begin an empty store: with the wrong key that would shut out the brokers that come back to it.
const NOBODYS: &str = "nothing was done: no broker has begun this store (its record of the server's key is missing; \
                       a running broker puts it back within a minute)";

/// The filter that selects sessions; everything that is given must fit.
#[derive(Debug, Args)]
pub(super) struct FilterArguments {
    /// Subject, user name or e-mail address
    #[arg(long)]
    user: Option<String>,
    /// The provider's issuer identifier
    #[arg(long)]
    issuer: Option<String>,
    /// The provider's name for the person; with --issuer the fastest way to their sessions
    #[arg(long)]
    subject: Option<String>,
    /// The configured name of the provider
    #[arg(long)]
    idp: Option<String>,
    /// A group they were in at the login
    #[arg(long)]
    group: Option<String>,
    /// Address that the login came from, or its network, such as 192.0.2.0/24
    #[arg(long, value_name = "ADDRESS", value_parser = parse_network)]
    ip: Option<IpNet>,
    /// Kind of browser that the login came from, such as "Chrome on Windows", Firefox or Android
    #[arg(long, value_name = "KIND")]
    browser: Option<BrowserKind>,
    /// Established longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = durations::parse)]
    older_than: Option<Duration>,
    /// Last used longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = durations::parse)]
    idle_longer_than: Option<Duration>,
}

impl From<FilterArguments> for Filter {
    fn from(arguments: FilterArguments) -> Self {
        let FilterArguments { user, issuer, subject, idp, group, ip, browser, older_than, idle_longer_than } =
            arguments;
        Self {
            person: PersonFilter { user, issuer, subject, idp, group, verified_email: None },
            network: ip,
            browser,
            older_than,
            idle_longer_than,
            happened: None,
        }
    }
}

pub(super) fn reason_given(reason: String) -> Result<String, CommandError> {
    if reason.trim().is_empty() { Err(CommandError::Usage("--reason must say why".into())) } else { Ok(reason) }
}

/// The person who orders, as far as the machine knows.
pub(super) fn at_the_terminal() -> String {
    // Containers and timers know no name.
    let name = ["USER", "LOGNAME"].into_iter().filter_map(std::env::var_os).find(|name| !name.is_empty());
    let uid = || format!("uid {}", rustix::process::getuid().as_raw()).into();
    format!("terminal:{}", name.unwrap_or_else(uid).display())
}

/// The sessions of the configured store, whatever else is configured.
pub(super) async fn open(file: &ConfigFile, json: bool) -> Result<SessionAdministration, CommandError> {
    let settings = Source::of_process(file.config.as_deref())?.review_settings()?;
    if matches!(settings.store, StoreSettings::Memory) {
        let problem = "store.url: sessions in memory can be reached through the broker that holds them alone";
        return Err(CommandError::Usage(problem.into()));
    }
    // Logs the faults of the layers below, and the audit trail.
    let format = if json { LogFormat::Json } else { LogFormat::Human };
    telemetry::start(LogSettings { level: tracing::Level::WARN, format }, std::io::stderr);
    let clock = Arc::new(SystemClock);
    let store = settings.store.open(clock.clone()).map_err(failed)?;
    let uncached = NearCacheSettings { entries: 0, max_age: StdDuration::ZERO };
    let sessions = Sessions::new(store, &settings.keyring, settings.rules, uncached, clock).as_observer();
    match sessions.maintenance().store_owner().await.map_err(failed)? {
        StoreOwner::Us => {}
        StoreOwner::Nobody => return Err(failed(NOBODYS)),
    }
    let sessions = sessions.administration();
    sessions.reload_stored_timeouts().await.map_err(failed)?;
    Ok(sessions)
}

pub(super) fn selection(handles: Vec<SessionHandle>, filter: Filter, all: bool) -> Result<Selection, CommandError> {
    let usage = |problem: &str| Err(CommandError::Usage(problem.into()));
    match (handles.is_empty(), filter.is_empty(), all) {
        _ if !filter.is_sensible() => usage(NOT_SENSIBLE),
        (false, true, false) => Ok(Selection::Handles(handles)),
        (true, false, false) | (true, true, true) => Ok(Selection::Matching(filter)),
        (true, true, false) => usage("say whose: handles, or a filter such as --user, or --all"),
        (false, false, false) => usage("say it in one way: either handles or a filter, not both"),
        (_, _, true) => usage("--all is everybody: leave out the handles and filters, or leave out --all"),
    }
}

pub(super) fn short(moment: OffsetDateTime) -> String {
    crate::web::page::moment(moment)
}

pub(super) fn confirm(question: &str, otherwise: &str) -> Result<(), CommandError> {
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::Usage("nobody is there to ask: say --yes".into()));
    }
    ask(&format!("{question} [y/N] "));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(failed(otherwise)) }
}
