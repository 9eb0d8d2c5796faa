//! `/sso/api/v1/sessions` and `/sso/api/v1/revocations`.

use std::borrow::Cow;
use std::sync::Once;
use std::time::Duration as StdDuration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use serde::{Deserialize, Serialize};
use time::Duration;
use tokio::sync::watch;
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use super::caller::{Caller, Reviewer};
use super::filter::FilterBody;
use super::object::Object;
use super::{Api, Body, answer, store_failed, wrong};
use crate::administration::durations;
use crate::administration::revocation::{FRESH_LOGIN, audit_order, audit_revocation, block_order};
use crate::administration::session_view::SessionView;
use crate::audit::{AuditEvent, audit};
use crate::session::ending::EndCause;
use crate::session::filter::Filter;
use crate::session::key::SessionHandle;
use crate::session::registry::Cursor;
use crate::session::revocation::{Order, Preview, Revoked, Selection};
use crate::session::store::StoreError;
use crate::unix_millis::UnixMillis;
use crate::web::failure::{Failure, FailureKind};

/// Sessions on a page, unless asked for otherwise.
const DEFAULT_LIMIT: usize = 100;
const HIGHEST_LIMIT: usize = 1_000;
/// Handles named in an answer; the numbers are whole in any case.
const MOST_NAMED: usize = 1_000;
const LONGEST_REASON: usize = 500;
/// Longest time for which a broker believes what it knows without hearing from the store.
const LONGEST_LEASE: StdDuration = StdDuration::from_millis(500);

/// The page of a listing; stands in the query beside the filter.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Sessions on a page: 100, at most 1000.
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Set to count all that fit; if more than 20,000 may, a sample of them is looked at.
    count: bool,
}

/// Reads both halves of a query; a parameter that stands twice or is unknown is an error.
fn read_query(query: &str) -> Result<(Filter, PageQuery), Failure> {
    const OF_PAGE: [&str; 3] = ["limit", "cursor", "count"];
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let (page, filter): (Vec<_>, Vec<_>) = pairs.iter().partition(|(name, _)| OF_PAGE.contains(&&**name));
    let encoded = |pairs: Vec<&(Cow<'_, str>, Cow<'_, str>)>| {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    };
    let uri = |query: String| Uri::try_from(format!("/?{query}")).map_err(|error| wrong(error.to_string()));
    let filter: Query<FilterBody> =
        Query::try_from_uri(&uri(encoded(filter))?).map_err(|error| wrong(error.body_text()))?;
    let page: Query<PageQuery> = Query::try_from_uri(&uri(encoded(page))?).map_err(|error| wrong(error.body_text()))?;
    Ok((filter.0.into(), page.0))
}

/// A page of sessions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListAnswer {
    sessions: Vec<SessionView>,
    /// The `cursor` of the next page; none at the end.
    next: Option<String>,
    /// The number of all registered sessions, those included that ended by themselves lately; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    registered: Option<u64>,
    /// The number of sessions that fit; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    /// False if that number was told from a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    count_is_exact: Option<bool>,
}

/// An order to end sessions: `handles` or a `filter`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevocationBody {
    #[serde(default)]
    handles: Option<Vec<String>>,
    /// Everybody is `{"all": true}`.
    #[serde(default)]
    #[schema(value_type = Option<FilterBody>)]
    filter: Option<Object<FilterBody>>,
    /// The reason, for other reviewers and the audit trail; the person does not see it.
    reason: String,
    /// No new session for the persons concerned for so long; `0s` lifts what the same words blocked.
    #[serde(default, deserialize_with = "durations::option::deserialize")]
    #[schema(value_type = Option<String>, example = "1h")]
    block_for: Option<Duration>,
    /// True if the persons concerned have to show who they are at the provider before their next session.
    #[serde(default = "yes")]
    fresh_login: bool,
    /// Set to be told only which sessions would end.
    #[serde(default)]
    dry_run: bool,
}

fn yes() -> bool {
    true
}

/// The outcome of a revocation.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevocationAnswer {
    /// The number of live sessions that were meant; on a dry run by a sample, if they are more than 20,000.
    matched: usize,
    /// False if that number was told from a sample; only on a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched_is_exact: Option<bool>,
    /// The number of them whose records are deleted by now.
    ended: usize,
    /// True if more records are being deleted behind this answer. The order counts all the same: no broker serves a
    /// session that it means.
    clearing: bool,
    /// Their handles, the first thousand.
    sessions: Vec<String>,
    /// The sign-in that the persons concerned owe before their next session, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    fresh_login: Option<&'static str>,
    /// False if the order would be lost with the Redis that took it, since too few of its replicas had confirmed it: repeat
    /// the call. Missing on a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    replicated: Option<bool>,
    /// The number of blocks this call lifted: with a `block_for` of `0s`, those that the same words had laid down.
    lifted: usize,
}

/// `GET /sso/api/v1/sessions`
///
/// # Errors
/// [`Failure`]: 400 for a query that cannot be read, 401, 403, 429, 503.
#[utoipa::path(get, path = "/sso/api/v1/sessions", tag = "sessions", params(FilterBody, PageQuery), responses(
    (status = 200, description = "A page of live sessions, newest first", body = ListAnswer),
    (status = 429, description = "Two lists by a filter, counts or dry runs look through all sessions already: repeat the call after `Retry-After` seconds"),
))]
pub async fn list(State(api): State<Api>, Reviewer(caller): Reviewer, uri: Uri) -> Result<Response, Failure> {
    let (filter, PageQuery { limit, cursor, count }) = read_query(uri.query().unwrap_or_default())?;
    if !filter.is_sensible() {
        return Err(wrong("the filter must say something: a name is empty, or an age is no time"));
    }
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=HIGHEST_LIMIT).contains(&limit) {
        return Err(wrong("limit: must be between 1 and 1000"));
    }
    let cursor = cursor.map(|cursor| read_cursor(&cursor).ok_or_else(|| wrong("cursor: must be the `next` of a page")));
    viewed(&caller, &format!("sessions: {filter}"));
    let cursor = cursor.transpose()?;
    let (page, count, registered) = if count {
        let counted = tokio::try_join!(api.sessions.page_and_count(&filter, cursor, limit), api.sessions.registered());
        counted.map(|((page, count), registered)| (page, Some(count), Some(registered))).map_err(store_failed)?
    } else {
        (api.sessions.page(&filter, cursor, limit).await.map_err(store_failed)?, None, None)
    };
    Ok(answer(ListAnswer {
        sessions: page.sessions.iter().map(SessionView::of).collect(),
        next: page.next.map(write_cursor),
        registered,
        count: count.map(|count| count.sessions),
        count_is_exact: count.map(|count| count.is_exact),
    }))
}

/// `GET /sso/api/v1/sessions/{handle}`
///
/// # Errors
/// [`Failure`]: 404 if there is no such live session, 401, 403, 503.
#[utoipa::path(get, path = "/sso/api/v1/sessions/{handle}", tag = "sessions", params(("handle" = String, Path)), responses(
    (status = 200, description = "A live session", body = SessionView),
    (status = 404, description = "There is no such live session"),
))]
pub async fn show(
    State(api): State<Api>,
    Reviewer(caller): Reviewer,
    handle: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let Path(handle) = handle.map_err(|error| Failure::caused(FailureKind::NotFound, error))?;
    let handle: SessionHandle = handle.parse().map_err(|error| Failure::caused(FailureKind::NotFound, error))?;
    viewed(&caller, &handle.to_string());
    let found = api.sessions.find(handle).await.map_err(store_failed)?.ok_or(FailureKind::NotFound)?;
    Ok(answer(SessionView::of(&found)))
}

/// `POST /sso/api/v1/revocations`
///
/// # Errors
/// [`Failure`]: 400 for a body that says nothing clear, 401, 403, 429 for a dry run, 503 if some sessions may live on.
#[utoipa::path(post, path = "/sso/api/v1/revocations", tag = "sessions", request_body = RevocationBody, responses(
    (status = 200, description = "No broker serves any of the sessions any more (or, on a dry run, which they would be)", body = RevocationAnswer),
    (status = 429, description = "Only on a dry run: two lists by a filter, counts or dry runs look through all sessions already; repeat the call after `Retry-After` seconds"),
    (status = 503, description = "The store did not answer: some may live on; repeating the call is safe"),
))]
pub async fn revoke(
    State(api): State<Api>,
    Reviewer(caller): Reviewer,
    Body(body): Body<RevocationBody>,
) -> Result<Response, Failure> {
    let reason = body.reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
        return Err(wrong("reason: must say why, in at most 500 characters"));
    }
    let selection = selection(body.handles, body.filter.map(|Object(filter)| filter))?;
    let by_handle = matches!(selection, Selection::Handles(_));
    let fresh_login = body.fresh_login.then_some(FRESH_LOGIN);
    if body.dry_run {
        viewed(&caller, &format!("dry run of a revocation: {selection}"));
        let Preview { count, sessions } = api.sessions.preview(&selection).await.map_err(store_failed)?;
        let so_far = SoFar { matched: count.sessions, sessions: named(&sessions), ..SoFar::default() };
        let meant = so_far.answer(fresh_login, false);
        return Ok(answer(RevocationAnswer { matched_is_exact: Some(count.is_exact), replicated: None, ..meant }));
    }
    let Caller { name, client } = caller;
    let order = Order {
        reason,
        by: name,
        cause: EndCause::Revoked,
        block: block_order(body.block_for),
        fresh_login: body.fresh_login,
    };
    let (tell, mut told) = watch::channel(SoFar::default());
    // Whoever asked may hang up: what was begun is brought to its end all the same.
    let mut task = tokio::spawn(async move {
        let written = Once::new();
        let tell = |revoked: &Revoked| {
            if revoked.is_given {
                written.call_once(|| audit_order(&selection, &order, Some(client)));
            }
            tell.send_replace(SoFar::of(revoked));
        };
        let revoked = api.sessions.revoke_and_tell(&selection, &order, &tell).await;
        audit_revocation(&selection, &order, &revoked, Some(client));
        revoked
    });
    let in_force = async {
        // An order that does not stand is in force when its records are deleted.
        let stands = told.wait_for(|so_far| so_far.stands).await.map(drop);
        tokio::time::sleep(LONGEST_LEASE).await;
        stands.ok().map(|()| told.borrow().clone())
    };
    let done = tokio::select! {
        biased;
        done = &mut task => done,
        Some(so_far) = in_force => {
            if so_far.has_failed {
                return Err(store_failed(StoreError::backend("not all of a revocation could be done")));
            }
            return Ok(answer(so_far.answer(fresh_login, true)));
        }
    };
    let revoked = done.map_err(|error| Failure::caused(FailureKind::Internal, error))?;
    let revoked = revoked.complete().map_err(store_failed)?;
    // Whoever is named by a session that is gone owes nothing.
    let fresh_login = fresh_login.filter(|_| !(by_handle && revoked.matched.is_empty()));
    Ok(answer(SoFar::of(&revoked).answer(fresh_login, revoked.goes_on)))
}

/// A revocation, as far as it has come.
#[derive(Debug, Clone, Default)]
struct SoFar {
    matched: usize,
    ended: usize,
    sessions: Vec<String>,
    stands: bool,
    has_failed: bool,
    is_replicated: bool,
    lifted: usize,
}

impl SoFar {
    fn of(revoked: &Revoked) -> Self {
        Self {
            matched: revoked.matched.len(),
            ended: revoked.ended.len(),
            sessions: named(&revoked.matched),
            stands: revoked.stands,
            has_failed: revoked.failure.is_some(),
            is_replicated: revoked.is_replicated,
            lifted: revoked.blocks.lifted.len(),
        }
    }

    fn answer(self, fresh_login: Option<&'static str>, clearing: bool) -> RevocationAnswer {
        RevocationAnswer {
            matched: self.matched,
            matched_is_exact: None,
            ended: self.ended,
            clearing,
            sessions: self.sessions,
            fresh_login,
            replicated: Some(self.is_replicated),
            lifted: self.lifted,
        }
    }
}

fn named(handles: &[SessionHandle]) -> Vec<String> {
    handles.iter().take(MOST_NAMED).map(ToString::to_string).collect()
}

fn selection(handles: Option<Vec<String>>, filter: Option<FilterBody>) -> Result<Selection, Failure> {
    match (handles, filter) {
        (Some(handles), None) => {
            let handles: Result<Vec<SessionHandle>, _> = handles.iter().map(|handle| handle.parse()).collect();
            let handles = handles.map_err(|error| wrong(format!("handles: {error}")))?;
            if handles.is_empty() {
                return Err(wrong("handles: must name a session"));
            }
            Ok(Selection::Handles(handles))
        }
        (None, Some(body)) => {
            let all = body.all;
            let filter = Filter::from(body);
            if all != filter.is_empty() || !filter.is_sensible() {
                return Err(wrong("filter: must say whose sessions, or \"all\": true and nothing else"));
            }
            Ok(Selection::Matching(filter))
        }
        _ => Err(wrong("must have either \"handles\" or \"filter\"")),
    }
}

fn viewed(caller: &Caller, what: &str) {
    audit(&AuditEvent::SessionsViewed { by: &caller.name, what, client: caller.client });
}

fn write_cursor(place: Cursor) -> String {
    URL_SAFE_NO_PAD.encode(format!("{} {}", place.established.0, place.handle))
}

fn read_cursor(cursor: &str) -> Option<Cursor> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (established, handle) = text.split_once(' ')?;
    Some(Cursor { established: UnixMillis(established.parse().ok()?), handle: handle.parse().ok()? })
}
