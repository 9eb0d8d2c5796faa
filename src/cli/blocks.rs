//! `counterfoil blocks`: the people who may have no session for a time, and letting them back in.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::output::{say, table, tell};
use super::review::{FilterArguments, at_the_terminal, confirm, open, reason_given, selection, short};
use super::{CommandError, ConfigFile, failed};
use crate::administration::revocation::audit_lifted;
use crate::printable::Printable;
use crate::session::SessionAdministration;
use crate::session::blocks::{Block, Meant, Words};
use crate::session::filter::written_network;
use crate::session::key::SessionHandle;
use crate::session::revocation::Selection;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The blocks that stand, those that last longest first
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Lift blocks: of a person, or what was laid down in the same words; no session ends
    Lift(Box<LiftArguments>),
}

/// The blocks to lift, and the reason.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct LiftArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Handles of sessions by which persons were blocked, such as cf-8QzvTn2LmX0aPq4RsWg
    handles: Vec<SessionHandle>,
    #[command(flatten)]
    filter: FilterArguments,
    /// Every block that stands
    #[arg(long)]
    all: bool,
    /// The reason, for other reviewers and the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only say which blocks would be lifted
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::List { file, json } => {
            let blocks = open(&file, json).await?.blocks().await.map_err(failed)?;
            let read = print(&blocks, json);
            if !json {
                tell(&format!("{} block(s)", blocks.len()));
            }
            read
        }
        Command::Lift(arguments) => {
            let LiftArguments { file, handles, filter, all, reason, dry_run, yes, json } = *arguments;
            let meant = match selection(handles, filter.into(), all)? {
                Selection::Matching(filter) if filter.is_empty() => Meant::All,
                Selection::Matching(filter) => Meant::OfWhomeverFits(filter),
                selection => Meant::by_order(&selection),
            };
            let reason = reason_given(reason)?;
            let sessions = open(&file, json).await?;
            if dry_run || !yes {
                let blocks = sessions.blocks_meant(&meant).await.map_err(failed)?;
                if dry_run {
                    let read = print(&blocks, json);
                    tell_count(blocks.len(), "would be lifted", json);
                    return read;
                }
                confirm(&format!("Lift {} block(s)?", blocks.len()), "nothing was lifted")?;
            }
            lift(&sessions, &meant, &reason, json).await
        }
    }
}

async fn lift(sessions: &SessionAdministration, meant: &Meant, reason: &str, json: bool) -> Result<(), CommandError> {
    let lifted = sessions.lift_blocks(meant).await;
    audit_lifted(meant, &at_the_terminal(), reason, &lifted, None);
    let read = print(&lifted.lifted, json);
    if let Some(error) = lifted.failure {
        return Err(failed(format!("{} block(s) lifted, but not all that were meant: {error}", lifted.lifted.len())));
    }
    tell_count(lifted.lifted.len(), "lifted", json);
    if !json {
        tell_what_stands(&lifted.standing);
    }
    read
}

fn tell_count(count: usize, what: &str, json: bool) {
    if !json {
        tell(&format!("{count} block(s) {what}"));
        if count == 0 {
            tell("`counterfoil blocks list` shows in whose words each was ordered");
        }
    }
}

/// Lists the blocks that keep the persons out all the same.
pub(super) fn tell_what_stands(standing: &[Block]) {
    for block in standing {
        let (words, until) = (words(block), short(block.until));
        tell(&format!("still blocked until {until}: {} (lift it by the same words)", Printable(&words)));
    }
}

fn print(blocks: &[Block], json: bool) -> Result<(), CommandError> {
    if json {
        return blocks.iter().try_for_each(|block| {
            let object = serde_json::to_string(&BlockView::of(block)).map_err(failed)?;
            say(&object)
        });
    }
    let header = (!blocks.is_empty()).then(|| COLUMNS.map(str::to_owned));
    let rows: Vec<_> = header.into_iter().chain(blocks.iter().map(row)).collect();
    table(&rows).iter().try_for_each(|line| say(line))
}

const COLUMNS: [&str; 7] = ["person", "e-mail", "ordered for", "until", "since", "by", "reason"];

fn row(block: &Block) -> [String; COLUMNS.len()] {
    let person = block.person.as_ref();
    [
        person.map_or_else(|| "(whoever fits)".to_owned(), |person| person.display_name().to_owned()),
        person.and_then(|person| person.email.clone()).unwrap_or_default(),
        words(block),
        short(block.until),
        block.since.map(short).unwrap_or_default(),
        block.by.clone().unwrap_or_default(),
        block.reason.clone().unwrap_or_default(),
    ]
}

fn words(block: &Block) -> String {
    block.words.as_ref().map_or_else(|| "(sealed under a key that is gone)".into(), ToString::to_string)
}

/// A block, as reviewers see it.
#[derive(Debug, Serialize)]
struct BlockView<'a> {
    /// The persons that the order meant, for people.
    ordered_for: String,
    /// The same for programs: a handle, or a filter by the names that the API takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Value>,
    /// The person who is blocked; none: whoever fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<Value>,
    #[serde(with = "time::serde::rfc3339")]
    until: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
    by: Option<&'a str>,
    reason: Option<&'a str>,
}

impl<'a> BlockView<'a> {
    fn of(block: &'a Block) -> Self {
        let (session, filter) = match &block.words {
            Some(Words::Session(handle)) => (Some(handle.as_str()), None),
            Some(words) => (None, Some(filter_of(words))),
            None => (None, None),
        };
        let person = block.person.as_ref().map(|person| {
            without_nothing(json!({
                "idp": Some(&person.idp).filter(|idp| !idp.is_empty()),
                "issuer": person.issuer,
                "subject": person.subject,
                "name": person.name,
                "preferred_username": person.preferred_username,
                "email": person.email,
            }))
        });
        Self {
            ordered_for: words(block),
            session,
            filter,
            person,
            until: block.until,
            since: block.since,
            by: block.by.as_deref(),
            reason: block.reason.as_deref(),
        }
    }
}

fn filter_of(words: &Words) -> Value {
    let Some(filter) = words.filter() else { return Value::Null };
    let age = |age: Option<time::Duration>| age.map(|age| humantime::format_duration(age.unsigned_abs()).to_string());
    if filter.is_empty() {
        return json!({ "all": true });
    }
    without_nothing(json!({
        "user": filter.person.user,
        "issuer": filter.person.issuer,
        "subject": filter.person.subject,
        "idp": filter.person.idp,
        "group": filter.person.group,
        "ip": filter.network.map(written_network),
        "browser": filter.browser,
        "older_than": age(filter.older_than),
        "idle_longer_than": age(filter.idle_longer_than),
    }))
}

fn without_nothing(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    object
}
