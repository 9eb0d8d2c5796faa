//! The upstreams of one route: the next one for a request, in turn among those that are thought healthy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Weak};
use std::time::Duration;

use counterfoil_core::lock;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use tokio::time::{Instant, MissedTickBehavior};

use super::Upstream;
use super::availability::{Availability, Change};
use crate::error::causes;
use crate::pool::{AnswerBody, Content, Pool, PoolError, copy, is_repeatable};

/// Active checks of upstreams: `GET path`, answered with a status from 200 to 399.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// The path that is asked for, and a query.
    pub path: PathAndQuery,
    /// Time between two checks.
    pub interval: Duration,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Failures in a row after which an upstream gets no more requests.
    pub fall: u64,
    /// Successes in a row after which it gets them again.
    pub rise: u64,
}

/// Several upstreams that do the same.
#[derive(Debug)]
pub(super) struct Members {
    all: Vec<Member>,
    next: AtomicUsize,
}

/// One of them.
#[derive(Debug)]
struct Member {
    address: Uri,
    state: Mutex<Availability>,
}

impl Member {
    fn log(&self, change: Option<Change>, error: Option<&dyn std::fmt::Display>) {
        let (upstream, error) = (&self.address, error.map(tracing::field::display));
        match change {
            Some(Change::Out) => tracing::warn!(%upstream, error, "an upstream gets no more requests"),
            Some(Change::Back) => tracing::info!(%upstream, "an upstream gets requests again"),
            None => {}
        }
    }

    fn note(&self, answer: &Result<Response<AnswerBody>, PoolError>) {
        match answer {
            Ok(_) => self.log(lock(&self.state).answered(), None),
            Err(error) if is_the_upstreams_fault(error) => {
                let change = lock(&self.state).failed(Instant::now());
                self.log(change, Some(error));
            }
            Err(_) => {}
        }
    }
}

impl Members {
    pub(super) fn new(addresses: Vec<Uri>) -> Self {
        let member = |address| Member { address, state: Mutex::default() };
        Self { all: addresses.into_iter().map(member).collect(), next: AtomicUsize::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The member whose turn it is, of those that are thought healthy; of all, if none is. `but`: the one that was tried.
    fn pick(&self, but: Option<&Member>) -> Option<&Member> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let in_turn = || {
            let turns = (0..self.all.len()).map(|turn| &self.all[first.wrapping_add(turn) % self.all.len()]);
            turns.filter(|member| but.is_none_or(|but| !std::ptr::eq(*member, but)))
        };
        in_turn().find(|member| lock(&member.state).may_take(now)).or_else(|| in_turn().next())
    }

    /// Sends a request to one of them. A GET or HEAD without content is sent to another one if no connection could be made.
    ///
    /// # Errors
    /// [`PoolError`].
    pub(super) async fn send(&self, pool: &Pool, request: Request<Content>) -> Result<Response<AnswerBody>, PoolError> {
        if let [only] = self.all.as_slice() {
            return pool.send(&only.address, request).await;
        }
        let Some(member) = self.pick(None) else { return Err(PoolError::Connect("there is no upstream".into())) };
        let again = is_repeatable(&request).then(|| copy(&request));
        let answer = pool.send(&member.address, request).await;
        member.note(&answer);
        let again = again.filter(|_| matches!(answer, Err(PoolError::Connect(_))));
        let Some((again, other)) = again.and_then(|again| Some((again, self.pick(Some(member))?))) else {
            return answer;
        };
        let answer = pool.send(&other.address, again).await;
        other.note(&answer);
        answer
    }
}

/// Is true of an error that is not the client's: its own body broke, or was given up.
fn is_the_upstreams_fault(error: &PoolError) -> bool {
    !causes(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user))
}

/// Checks a member in each interval, for as long as its route exists. `host`: the site's name, as requests have it.
pub(super) async fn watch(upstream: Weak<Upstream>, place: usize, settings: HealthSettings, host: HeaderValue) {
    let mut ticks = tokio::time::interval(settings.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(upstream) = upstream.upgrade() else { return };
        let Some(member) = upstream.members.all.get(place) else { return };
        let mut request = Request::new(Content::none());
        *request.uri_mut() = Uri::from(settings.path.clone());
        request.headers_mut().insert(HOST, host.clone());
        let outcome = match tokio::time::timeout(settings.timeout, upstream.pool.send(&member.address, request)).await {
            Ok(Ok(answer)) if (200..400).contains(&answer.status().as_u16()) => Ok(()),
            Ok(Ok(answer)) => Err(format!("it answers {} to {}", answer.status(), settings.path)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer to {} came within {:?}", settings.path, settings.timeout)),
        };
        let change = lock(&member.state).checked(outcome.is_ok(), settings.fall, settings.rise);
        member.log(change, outcome.err().as_ref().map(|error| error as _));
    }
}
