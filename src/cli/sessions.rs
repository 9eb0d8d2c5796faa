//! `counterfoil sessions`: the security reviewer at a terminal, straight in the store.

use std::sync::{Mutex, Once};
use std::time::{Duration as StdDuration, Instant};

use clap::Subcommand;
use counterfoil_core::lock;
use serde::Serialize;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::output::{say, table, tell};
use super::review::{FilterArguments, NOT_SENSIBLE, at_the_terminal, confirm, open, reason_given, selection, short};
use super::{CommandError, ConfigFile, failed};
use crate::administration::durations;
use crate::administration::revocation::{FRESH_LOGIN, audit_order, audit_revocation, block_order};
use crate::administration::session_view::SessionView;
use crate::printable::Printable;
use crate::session::ending::{EndCause, Tombstone};
use crate::session::filter::Filter;
use crate::session::key::SessionHandle;
use crate::session::listing::Count;
use crate::session::revocation::{BlockOrder, Order, Preview, Revoked, Selection};
use crate::session::{LiveSession, SessionAdministration};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The live sessions that fit, newest first
    List {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        filter: FilterArguments,
        /// Only say how many; if more than 20,000 may fit, by a sample
        #[arg(long)]
        count: bool,
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
        /// The reason, for other reviewers and the audit trail; the person does not see it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// No new session for the persons concerned for so long; 0s lifts what the same words blocked
        #[arg(long, value_name = "DURATION", value_parser = durations::parse)]
        block: Option<Duration>,
        /// Let the persons concerned back in by a session that still lives at the provider
        #[arg(long)]
        without_fresh_login: bool,
        /// Only say which sessions would end: how many, and the newest thousand
        #[arg(long)]
        dry_run: bool,
        /// Name every session that ended, also if they are more than a thousand
        #[arg(long)]
        list: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Said of an order that one server alone has.
const NOT_REPLICATED: &str = "it is done, but would be lost with the Redis that took it: too few of its replicas had \
    confirmed it; repeat the command";

pub(super) async fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::List { file, filter, count: true, json } => {
            count(&open(&file, json).await?, &sensible(filter.into())?, json).await
        }
        Command::List { file, filter, count: false, json } => {
            list(&open(&file, json).await?, &sensible(filter.into())?, json).await
        }
        Command::Show { file, handle, json } => show(&open(&file, json).await?, handle, json).await,
        Command::Revoke {
            file,
            handles,
            filter,
            all,
            reason,
            block,
            without_fresh_login,
            dry_run,
            list,
            yes,
            json,
        } => {
            let selection = selection(handles, filter.into(), all)?;
            let (reason, by) = (reason_given(reason)?, at_the_terminal());
            let order = Order {
                reason,
                by,
                cause: EndCause::Revoked,
                block: block_order(block),
                fresh_login: !without_fresh_login,
            };
            let sessions = open(&file, json).await?;
            if dry_run || !yes {
                let Preview { count, sessions } = sessions.preview(&selection).await.map_err(failed)?;
                if dry_run {
                    return told(&sessions, count, "would end", json);
                }
                confirm(&format!("End {} for good?", in_number(count)), "nothing was ended")?;
            }
            let (written, tell_progress) = (Once::new(), progress(json));
            let show = |revoked: &Revoked| {
                if revoked.is_given {
                    written.call_once(|| audit_order(&selection, &order, None));
                }
                tell_progress(revoked);
            };
            let revoked = sessions.revoke_and_tell(&selection, &order, &show).await;
            audit_revocation(&selection, &order, &revoked, None);
            // Nobody may read what came of it; whether all was done is said all the same.
            let read = told_of_revocation(&revoked, &order, list, json);
            let concerns_nobody = matches!(selection, Selection::Handles(_))
                && revoked.matched.is_empty()
                && revoked.blocks.lifted.is_empty();
            if concerns_nobody && !json {
                tell(
                    "nobody was concerned: none of these sessions lives, so no block and no fresh login was laid down",
                );
            } else if order.fresh_login && !json {
                tell(FRESH_LOGIN);
            }
            let (is_replicated, goes_on) = (revoked.is_replicated, revoked.goes_on);
            revoked.complete().map_err(|error| failed(format!("not all could be ended: {error}")))?;
            if goes_on && !json {
                tell("a broker carries out the rest");
            }
            if !is_replicated {
                return Err(failed(NOT_REPLICATED));
            }
            read
        }
    }
}

/// Refuses a filter that says nothing.
fn sensible(filter: Filter) -> Result<Filter, CommandError> {
    if filter.is_sensible() { Ok(filter) } else { Err(CommandError::Usage(NOT_SENSIBLE.into())) }
}

async fn list(sessions: &SessionAdministration, filter: &Filter, json: bool) -> Result<(), CommandError> {
    let (mut place, mut count) = (None, 0);
    loop {
        let page = sessions.page(filter, place, 500).await.map_err(failed)?;
        let header = (count == 0 && !page.sessions.is_empty()).then(|| COLUMNS.map(str::to_owned));
        count += page.sessions.len();
        if json {
            page.sessions.iter().try_for_each(|session| say(&as_json(session)?))?;
        } else {
            let rows: Vec<_> = header.into_iter().chain(page.sessions.iter().map(row)).collect();
            table(&rows).iter().try_for_each(|line| say(line))?;
        }
        if page.next.is_none() {
            break;
        }
        place = page.next;
    }
    if !json {
        tell(&format!("{count} session(s)"));
    }
    Ok(())
}

async fn count(sessions: &SessionAdministration, filter: &Filter, json: bool) -> Result<(), CommandError> {
    let registered = sessions.registered().await.map_err(failed)?;
    let Count { sessions, is_exact } = sessions.count(filter).await.map_err(failed)?;
    if json {
        let count = json!({ "count": sessions, "count_is_exact": is_exact, "registered": registered });
        return say(&count.to_string());
    }
    say(&format!("{}, of {registered} registered", in_number(Count { sessions, is_exact })))
}

async fn show(sessions: &SessionAdministration, handle: SessionHandle, json: bool) -> Result<(), CommandError> {
    if let Some(session) = sessions.find(handle).await.map_err(failed)? {
        return say(&if json { as_json(&session)? } else { details(&session)? });
    }
    let Some(tombstone) = sessions.tombstone(handle).await.map_err(failed)? else {
        return Err(failed(format!("there is no session {handle}")));
    };
    if json {
        say(&serde_json::to_string(&TombstoneView::of(handle, &tombstone)).map_err(failed)?)?;
        return Err(CommandError::Said);
    }
    let told = |text: Option<&String>| text.map(|text| Printable(text).to_string());
    let by = told(tombstone.by.as_ref()).map(|by| format!(" by {by}")).unwrap_or_default();
    let reason = told(tombstone.reason.as_ref()).map(|reason| format!(": {reason}")).unwrap_or_default();
    let (at, cause) = (short(tombstone.ended_at), in_words(tombstone.cause));
    Err(failed(format!("{handle} ended at {at}, {cause}{by}{reason}")))
}

/// A session that is over, as reviewers see it.
#[derive(Debug, Serialize)]
struct TombstoneView<'a> {
    handle: String,
    #[serde(with = "time::serde::rfc3339")]
    ended_at: OffsetDateTime,
    cause: EndCause,
    by: Option<&'a str>,
    reason: Option<&'a str>,
    fresh_login: bool,
}

impl<'a> TombstoneView<'a> {
    fn of(handle: SessionHandle, tombstone: &'a Tombstone) -> Self {
        let Tombstone { ended_at, cause, reason, by, fresh_login } = tombstone;
        Self {
            handle: handle.to_string(),
            ended_at: *ended_at,
            cause: *cause,
            by: by.as_deref(),
            reason: reason.as_deref(),
            fresh_login: *fresh_login,
        }
    }
}

fn in_words(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Idle => "not used for too long",
        EndCause::Absolute => "at its absolute timeout",
        EndCause::Revoked => "revoked",
        EndCause::Displaced => "displaced by a newer session of the same person",
        EndCause::EndedElsewhere => "ended by the same person from another browser",
        EndCause::EndedByProvider => "ended by the identity provider",
    }
}

fn as_json(session: &LiveSession) -> Result<String, CommandError> {
    serde_json::to_string(&SessionView::of(session)).map_err(failed)
}

const COLUMNS: [&str; 9] =
    ["session", "person", "e-mail", "groups", "provider", "address", "signed in", "last used", "ends"];

fn row(session: &LiveSession) -> [String; COLUMNS.len()] {
    let (record, identity) = (session.record(), &session.record().identity);
    let ends = session.idle_expires_at().min(session.absolute_expires_at());
    [
        session.handle().to_string(),
        identity.display_name().to_owned(),
        identity.email.clone().unwrap_or_default(),
        identity.groups.join(","),
        identity.idp.clone(),
        record.client.address.clone().unwrap_or_default(),
        short(record.created_at),
        short(session.last_seen_at()),
        short(ends),
    ]
}

fn details(session: &LiveSession) -> Result<String, CommandError> {
    let view = serde_json::to_value(SessionView::of(session)).map_err(failed)?;
    let fields = view.as_object().into_iter().flatten();
    let lines: Vec<_> =
        fields.map(|(name, value)| format!("{name:22}{}", Printable(&in_words_of_a_line(value)))).collect();
    Ok(lines.join("\n"))
}

/// A value as a person reads it: a list by its items, nothing as a dash.
fn in_words_of_a_line(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(in_words_of_a_line).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Sessions that are named without being asked for; of more the number is told.
const MOST_NAMED: usize = 1_000;
/// Time between two lines that say how far a revocation is.
const PROGRESS: StdDuration = StdDuration::from_secs(1);

fn in_number(Count { sessions, is_exact }: Count) -> String {
    format!("{}{sessions} session(s)", if is_exact { "" } else { "about " })
}

fn told(handles: &[SessionHandle], count: Count, what: &str, json: bool) -> Result<(), CommandError> {
    if json {
        let handles: Vec<_> = handles.iter().map(ToString::to_string).collect();
        let told = json!({
            "matched": count.sessions, "matched_is_exact": count.is_exact, "sessions": handles
        });
        return say(&told.to_string());
    }
    let read = handles.iter().try_for_each(|handle| say(&handle.to_string()));
    tell(&format!("{} {what}", in_number(count)));
    read
}

/// Says how far a long revocation is, once a second. If the command is ended, the brokers go on with it.
fn progress(json: bool) -> impl Fn(&Revoked) + Send + Sync {
    let last = Mutex::new(Instant::now());
    move |revoked| {
        let mut last = lock(&last);
        if last.elapsed() >= PROGRESS {
            *last = Instant::now();
            tell(&progress_line(revoked, json));
        }
    }
}

fn progress_line(revoked: &Revoked, json: bool) -> String {
    let ended = revoked.ended.len();
    if json {
        return json!({ "progress": { "ended": ended, "in_force": revoked.stands } }).to_string();
    }
    let in_force = if revoked.stands { "in force; the brokers go on if this is interrupted; " } else { "" };
    format!("{in_force}{ended} record(s) deleted so far")
}

/// The outcome of a revocation for programs, by the names of the API.
fn outcome(revoked: &Revoked, list: bool) -> Value {
    let most = if list { usize::MAX } else { MOST_NAMED };
    let handles: Vec<_> = revoked.ended.iter().take(most).map(ToString::to_string).collect();
    json!({
        "matched": revoked.matched.len(),
        "ended": revoked.ended.len(),
        "clearing": revoked.goes_on,
        "sessions": handles,
        "replicated": revoked.is_replicated,
        "lifted": revoked.blocks.lifted.len(),
    })
}

fn told_of_revocation(revoked: &Revoked, order: &Order, list: bool, json: bool) -> Result<(), CommandError> {
    let lifts = order.block == BlockOrder::Lift;
    let (lifted, ended) = (revoked.blocks.lifted.len(), revoked.ended.len());
    let named = if list || ended <= MOST_NAMED { revoked.ended.as_slice() } else { &[] };
    if json {
        return say(&outcome(revoked, list).to_string());
    }
    let read = told(named, Count { sessions: ended, is_exact: true }, "ended", json);
    if lifts {
        tell(&format!("{lifted} block(s) lifted"));
        super::blocks::tell_what_stands(&revoked.blocks.standing);
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_of_a_revocation_in_objects_by_the_names_of_the_api() {
        let handles: Vec<SessionHandle> =
            ["cf-8QzvTn2LmX0aPq4RsWg", "cf-9QzvTn2LmX0aPq4RsWg"].iter().map(|handle| handle.parse().unwrap()).collect();
        let revoked = Revoked {
            matched: handles.clone(),
            ended: vec![handles[0]],
            stands: true,
            goes_on: true,
            is_replicated: true,
            ..Revoked::default()
        };
        let expected = json!({
            "matched": 2, "ended": 1, "clearing": true, "sessions": [handles[0].to_string()], "replicated": true, "lifted": 0
        });
        assert_eq!(outcome(&revoked, false), expected);
        let progress: Value = serde_json::from_str(&progress_line(&revoked, true)).unwrap();
        assert_eq!(progress, json!({ "progress": { "ended": 1, "in_force": true } }));
        assert!(progress_line(&revoked, false).ends_with("1 record(s) deleted so far"));
    }
}
