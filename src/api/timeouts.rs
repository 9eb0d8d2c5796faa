//! `/sso/api/v1/timeouts`: the lifetimes of sessions, on every replica.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use time::Duration;
use utoipa::ToSchema;

use super::caller::{Caller, Operator, ReviewerOrOperator};
use super::object::Object;
use super::{Api, Body, answer, store_failed, wrong};
use crate::administration::durations;
use crate::audit::{AuditEvent, audit};
use crate::session::policy::PolicySource;
use crate::session::timeout::{GroupLimits, InvalidLimits, Limits, TimeoutPolicy};
use crate::web::failure::{Failure, FailureKind};

/// Most entries for groups.
const MOST_GROUPS: usize = 100;

/// Timeouts, as the configuration has them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeoutsBody {
    /// Ends a session that is not used.
    #[serde(with = "durations")]
    #[schema(value_type = String, example = "30m")]
    idle_timeout: Duration,
    /// Ends every session.
    #[serde(with = "durations")]
    #[schema(value_type = String, example = "12h")]
    absolute_timeout: Duration,
    /// The timeouts for members of some groups; the first match applies.
    #[serde(default)]
    #[schema(value_type = Vec<GroupTimeouts>)]
    timeout: Vec<Object<GroupTimeouts>>,
    /// Set to be told only how many live sessions would end.
    #[serde(default, skip_serializing)]
    dry_run: bool,
}

/// Timeouts of some groups.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupTimeouts {
    groups: Vec<String>,
    #[serde(with = "durations")]
    #[schema(value_type = String, example = "10m")]
    idle_timeout: Duration,
    #[serde(with = "durations")]
    #[schema(value_type = String, example = "1h")]
    absolute_timeout: Duration,
}

/// The timeouts in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimeoutsAnswer {
    #[serde(flatten)]
    timeouts: TimeoutsBody,
    /// `configuration`, or `stored` by an operator for every replica.
    source: &'static str,
    /// The number of live sessions that would end; only on a dry run, whose timeouts are those that were asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_end: Option<usize>,
    /// False if that number was told from a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_end_is_exact: Option<bool>,
}

/// `GET /sso/api/v1/timeouts`
///
/// # Errors
/// [`Failure`]: 401, 403.
#[utoipa::path(get, path = "/sso/api/v1/timeouts", tag = "timeouts", responses(
    (status = 200, description = "The timeouts in force", body = TimeoutsAnswer),
))]
pub async fn show(State(api): State<Api>, ReviewerOrOperator(_): ReviewerOrOperator) -> Result<Response, Failure> {
    Ok(answer(in_force(&api)))
}

/// `PUT /sso/api/v1/timeouts`: for every replica, from now on.
///
/// # Errors
/// [`Failure`]: 400 for timeouts that make no sense, 401, 403, 429 for a dry run, 503.
#[utoipa::path(put, path = "/sso/api/v1/timeouts", tag = "timeouts", request_body = TimeoutsBody, responses(
    (status = 200, description = "They apply here at once and on every replica within a second", body = TimeoutsAnswer),
    (status = 429, description = "Only on a dry run: two lists by a filter, counts or dry runs look through all sessions already; repeat the call after `Retry-After` seconds"),
))]
pub async fn change(
    State(api): State<Api>,
    Operator(caller): Operator,
    Body(body): Body<TimeoutsBody>,
) -> Result<Response, Failure> {
    let policy = policy(&body)?;
    if body.dry_run {
        let would_end = api.sessions.would_end(&policy).await.map_err(store_failed)?;
        return Ok(answer(TimeoutsAnswer {
            timeouts: timeouts(&policy),
            would_end: Some(would_end.sessions),
            would_end_is_exact: Some(would_end.is_exact),
            ..in_force(&api)
        }));
    }
    let text = in_words(&policy);
    store(&api, caller, text, Some(policy)).await
}

/// `DELETE /sso/api/v1/timeouts`: back to the configuration.
///
/// # Errors
/// [`Failure`]: 401, 403, 503.
#[utoipa::path(delete, path = "/sso/api/v1/timeouts", tag = "timeouts", responses(
    (status = 200, description = "Those of the configuration apply again", body = TimeoutsAnswer),
))]
pub async fn withdraw(State(api): State<Api>, Operator(caller): Operator) -> Result<Response, Failure> {
    store(&api, caller, "those of the configuration".into(), None).await
}

async fn store(api: &Api, caller: Caller, text: String, policy: Option<TimeoutPolicy>) -> Result<Response, Failure> {
    let sessions = api.sessions.clone();
    // Whoever asked may hang up: what was stored is audited all the same.
    let task = tokio::spawn(async move {
        let stored = sessions.store_timeouts(policy.as_ref()).await;
        let complete = stored.is_ok();
        audit(&AuditEvent::TimeoutsChanged { by: &caller.name, timeouts: &text, complete, client: caller.client });
        stored
    });
    task.await.map_err(|error| Failure::caused(FailureKind::Internal, error))?.map_err(store_failed)?;
    Ok(answer(in_force(api)))
}

fn in_force(api: &Api) -> TimeoutsAnswer {
    let (policy, source) = api.sessions.timeouts();
    let source = match source {
        PolicySource::Configuration => "configuration",
        PolicySource::Stored => "stored",
    };
    TimeoutsAnswer { timeouts: timeouts(&policy), source, would_end: None, would_end_is_exact: None }
}

/// For the audit trail: a sentence, not a structure.
fn in_words(policy: &TimeoutPolicy) -> String {
    let limits = |limits: &Limits| {
        format!("idle {}, absolute {}", durations::write(limits.idle), durations::write(limits.absolute))
    };
    let by_group = policy.by_group.iter().map(|entry| {
        let groups = entry.groups.join(" or ");
        format!("; members of {groups}: {}", limits(&entry.limits))
    });
    std::iter::once(limits(&policy.default)).chain(by_group).collect()
}

fn policy(body: &TimeoutsBody) -> Result<TimeoutPolicy, Failure> {
    let limits = |idle, absolute, place: &str| {
        Limits::new(idle, absolute).map_err(|fault| {
            let key = match fault {
                InvalidLimits::Idle => "idle_timeout",
                InvalidLimits::Absolute => "absolute_timeout",
            };
            wrong(format!("{place}{key}: {fault}"))
        })
    };
    if body.timeout.len() > MOST_GROUPS || body.timeout.iter().any(|Object(entry)| entry.groups.is_empty()) {
        return Err(wrong("timeout: at most 100 entries, each naming at least one group"));
    }
    let by_group = body.timeout.iter().enumerate().map(|(index, Object(entry))| {
        let limits = limits(entry.idle_timeout, entry.absolute_timeout, &format!("timeout[{index}]."))?;
        Ok(GroupLimits { groups: entry.groups.clone(), limits })
    });
    Ok(TimeoutPolicy {
        by_group: by_group.collect::<Result<_, Failure>>()?,
        default: limits(body.idle_timeout, body.absolute_timeout, "")?,
    })
}

fn timeouts(policy: &TimeoutPolicy) -> TimeoutsBody {
    let entry = |entry: &GroupLimits| {
        Object(GroupTimeouts {
            groups: entry.groups.clone(),
            idle_timeout: entry.limits.idle,
            absolute_timeout: entry.limits.absolute,
        })
    };
    TimeoutsBody {
        idle_timeout: policy.default.idle,
        absolute_timeout: policy.default.absolute,
        timeout: policy.by_group.iter().map(entry).collect(),
        dry_run: false,
    }
}
