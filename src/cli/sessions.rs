//! `counterfoil sessions`: the security reviewer at a terminal, straight in the store.

use std::io::{BufRead, IsTerminal, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use clap::{Args, Subcommand};
use time::Duration;

use super::{CommandError, ConfigFile, failed};
use crate::api::durations;
use crate::api::sessions::{FRESH_LOGIN, SessionView, audit_revocation};
use crate::clock::SystemClock;
use crate::config::{Source, StoreSettings};
use crate::session::ending::EndCause;
use crate::session::key::SessionHandle;
use crate::session::revocation::{Order, Selection};
use crate::session::selection::{Filter, PersonFilter};
use crate::session::{LiveSession, NearCacheSettings, Sessions};
use crate::telemetry::{self, LogSettings, Printable};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The live sessions that fit, newest first
    List {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        filter: FilterArguments,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// One session
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// Its handle, such as cf-8QzvTn2LmX0aPq4RsWg
        handle: SessionHandle,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End sessions for good: those named, or those that fit
    Revoke {
        #[command(flatten)]
        file: ConfigFile,
        /// Handles, such as cf-8QzvTn2LmX0aPq4RsWg
        handles: Vec<SessionHandle>,
        #[command(flatten)]
        filter: FilterArguments,
        /// Everybody's
        #[arg(long)]
        all: bool,
        /// Why: for other reviewers and the audit trail; the person does not see it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// No new session for the persons concerned for so long; 0s lifts a block
        #[arg(long, value_name = "DURATION", value_parser = durations::parse)]
        block: Option<Duration>,
        /// Let the persons concerned back in by a session that still lives at the provider
        #[arg(long)]
        without_fresh_login: bool,
        /// Only say which sessions would end
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which sessions are meant; everything that is given must fit.
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
    /// Where the login came from
    #[arg(long)]
    ip: Option<IpAddr>,
    /// Established longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = durations::parse)]
    older_than: Option<Duration>,
    /// Last used longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = durations::parse)]
    idle_longer_than: Option<Duration>,
}

impl From<FilterArguments> for Filter {
    fn from(arguments: FilterArguments) -> Self {
        let FilterArguments { user, issuer, subject, idp, group, ip, older_than, idle_longer_than } = arguments;
        Self {
            person: PersonFilter { user, issuer, subject, idp, group, verified_email: None },
            ip,
            older_than,
            idle_longer_than,
            happened: None,
        }
    }
}

pub(super) async fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::List { file, filter, json } => list(&open(&file).await?, &filter.into(), json).await,
        Command::Show { file, handle, json } => show(&open(&file).await?, handle, json).await,
        Command::Revoke { file, handles, filter, all, reason, block, without_fresh_login, dry_run, yes, json } => {
            let selection = selection(handles, filter.into(), all)?;
            if reason.trim().is_empty() {
                return Err(CommandError::Usage("--reason must say why".into()));
            }
            let by = format!("terminal:{}", std::env::var_os("USER").unwrap_or_default().display());
            let order =
                Order { reason, by, cause: EndCause::Revoked, block_for: block, fresh_login: !without_fresh_login };
            let sessions = open(&file).await?;
            if dry_run || !yes {
                let meant = sessions.preview(&selection).await.map_err(failed)?;
                if dry_run {
                    return told(&meant.matched, "would end", json);
                }
                confirm(meant.matched.len())?;
            }
            let revoked = sessions.revoke(&selection, &order).await;
            audit_revocation(&selection, &order, &revoked, None);
            told(&revoked.ended, "ended", json)?;
            if order.fresh_login && !json {
                eprintln!("{FRESH_LOGIN}");
            }
            revoked.complete().map(drop).map_err(|error| failed(format!("not all could be ended: {error}")))
        }
    }
}

/// The sessions of the configured store, whatever else is configured.
async fn open(file: &ConfigFile) -> Result<Sessions, CommandError> {
    let settings = Source::of_process(file.config.as_deref())?.review_settings()?;
    if matches!(settings.store, StoreSettings::Memory) {
        let problem = "store.url: sessions in memory can be reached through the broker that holds them alone";
        return Err(CommandError::Usage(problem.into()));
    }
    // What goes wrong underneath, and the audit trail.
    telemetry::start(LogSettings { level: tracing::Level::WARN, ..LogSettings::default() }, std::io::stderr);
    let clock = Arc::new(SystemClock);
    let store = settings.store.open(clock.clone()).map_err(failed)?;
    let uncached = NearCacheSettings { entries: 0, max_age: StdDuration::ZERO };
    let sessions = Sessions::new(store, &settings.keyring, settings.rules, uncached, clock);
    sessions.look_at_stored_timeouts().await.map_err(failed)?;
    Ok(sessions)
}

fn selection(handles: Vec<SessionHandle>, filter: Filter, all: bool) -> Result<Selection, CommandError> {
    match (handles.is_empty(), filter.is_empty(), all) {
        _ if !filter.is_sensible() => Err(CommandError::Usage("a filter must say something".into())),
        (false, true, false) => Ok(Selection::Handles(handles)),
        (true, false, false) | (true, true, true) => Ok(Selection::Matching(filter)),
        _ => Err(CommandError::Usage("say whose sessions: handles, or a filter, or --all".into())),
    }
}

async fn list(sessions: &Sessions, filter: &Filter, json: bool) -> Result<(), CommandError> {
    let (mut place, mut count) = (None, 0);
    loop {
        let page = sessions.page(filter, place, 500).await.map_err(failed)?;
        for session in &page.sessions {
            count += 1;
            write(&if json { as_json(session)? } else { line(session) })?;
        }
        if page.next.is_none() {
            break;
        }
        place = page.next;
    }
    if !json {
        eprintln!("{count} session(s)");
    }
    Ok(())
}

async fn show(sessions: &Sessions, handle: SessionHandle, json: bool) -> Result<(), CommandError> {
    if let Some(session) = sessions.find(handle).await.map_err(failed)? {
        return write(&if json { as_json(&session)? } else { details(&session)? });
    }
    Err(failed(match sessions.tombstone(handle).await.map_err(failed)? {
        Some(tombstone) => {
            let told = |text: Option<&String>| text.map(|text| Printable(text).to_string()).unwrap_or_default();
            let (cause, at) = (tombstone.cause, tombstone.ended_at);
            let (by, reason) = (told(tombstone.by.as_ref()), told(tombstone.reason.as_ref()));
            format!("{handle} ended at {at} ({cause:?}) {by} {reason}").trim_end().to_owned()
        }
        None => format!("there is no session {handle}"),
    }))
}

fn as_json(session: &LiveSession) -> Result<String, CommandError> {
    serde_json::to_string(&SessionView::of(session)).map_err(failed)
}

fn line(session: &LiveSession) -> String {
    let (record, identity) = (session.record(), &session.record().identity);
    let address = record.client.address.as_deref().unwrap_or("-");
    let (handle, person, idp) = (session.handle(), Printable(identity.display_name()), Printable(&identity.idp));
    let (created, seen) = (short(record.created_at), short(session.last_seen_at()));
    format!("{handle}  {created}  {seen}  {idp}  {address}  {person}")
}

fn details(session: &LiveSession) -> Result<String, CommandError> {
    let view = serde_json::to_value(SessionView::of(session)).map_err(failed)?;
    let fields = view.as_object().into_iter().flatten();
    let lines: Vec<_> = fields
        .map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{name:22}{}", Printable(&text))
        })
        .collect();
    Ok(lines.join("\n"))
}

fn short(moment: time::OffsetDateTime) -> String {
    crate::web::page::moment(moment)
}

fn told(handles: &[SessionHandle], what: &str, json: bool) -> Result<(), CommandError> {
    if json {
        let handles: Vec<_> = handles.iter().map(ToString::to_string).collect();
        return write(&serde_json::json!({ "matched": handles.len(), "sessions": handles }).to_string());
    }
    for handle in handles {
        write(&handle.to_string())?;
    }
    eprintln!("{} session(s) {what}", handles.len());
    Ok(())
}

/// A pipe that was closed is no reason for a panic.
fn write(line: &str) -> Result<(), CommandError> {
    writeln!(std::io::stdout(), "{line}").map_err(failed)
}

fn confirm(count: usize) -> Result<(), CommandError> {
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::Usage("nobody is there to ask: say --yes".into()));
    }
    eprint!("End {count} session(s) for good? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(failed("nothing was ended")) }
}
