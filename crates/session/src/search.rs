//! Searches for persons whose index is missing: they have no session, or somebody deleted the index.
//!
//! Providers send logout tokens as often as they like, most of them about people who have no session left. So those who
//! wait for a search share one pass over the registry (single-flight), and passes take at most a tenth of the time, or
//! begin five seconds after one another.

use std::mem;
use std::sync::{Arc, Mutex};
use std::time::{Duration as StdDuration, Instant};

use counterfoil_core::lock;
use tokio::sync::oneshot;

use super::inner::Inner;
use super::listing::newest_first;
use super::registry::{Cursor, Entry};
use super::signature::Probe;
use super::store::StoreError;

/// The pause behind a pass, by the time that it took.
const PAUSE: u32 = 10;
const LONGEST_PAUSE: StdDuration = StdDuration::from_secs(5);
/// Longest time that anybody waits for a search; whoever sent the order may send it again.
const PATIENCE: StdDuration = StdDuration::from_secs(10);
/// Most persons who are searched for in one pass.
const MOST_SEARCHES: usize = 1_000;

type Answer = oneshot::Sender<Result<Vec<Cursor>, StoreError>>;

/// The searches that wait for the next pass.
#[derive(Debug, Default)]
pub(crate) struct Searches(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Whoever searches for the same person has the same answer.
    searches: Vec<(Probe, Vec<Answer>)>,
    /// Set while a task makes passes.
    is_running: bool,
}

/// The task that makes passes; should it panic, whoever waits is told so, and the next search begins another.
struct Passes(Arc<Inner>);

impl Searches {
    /// Adds a search; returns whether somebody has to begin to make passes.
    fn add(&self, probe: Probe, answer: Answer) -> Result<bool, StoreError> {
        let mut waiting = lock(&self.0);
        let is_full = waiting.searches.len() >= MOST_SEARCHES;
        match waiting.searches.iter_mut().find(|(same, _)| *same == probe) {
            Some((_, answers)) => answers.push(answer),
            None if is_full => return Err(StoreError::TooManySearches),
            None => waiting.searches.push((probe, vec![answer])),
        }
        Ok(!mem::replace(&mut waiting.is_running, true))
    }

    /// Takes those who wait; if nobody does, passes end.
    fn take(&self) -> Vec<(Probe, Vec<Answer>)> {
        let mut waiting = lock(&self.0);
        waiting.searches.retain(|(_, answers)| answers.iter().any(|answer| !answer.is_closed()));
        waiting.is_running = !waiting.searches.is_empty();
        mem::take(&mut waiting.searches)
    }
}

impl Drop for Passes {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *lock(&self.0.searches.0) = Waiting::default();
        }
    }
}

impl Inner {
    /// Returns the sessions whose signatures do not say no, newest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked, or not soon enough for somebody who waits.
    pub(crate) async fn search(self: &Arc<Self>, probe: Probe) -> Result<Vec<Cursor>, StoreError> {
        tokio::time::timeout(PATIENCE, self.search_patiently(probe)).await.unwrap_or(Err(StoreError::Timeout))
    }

    /// The same, for whoever has time.
    pub(crate) async fn search_patiently(self: &Arc<Self>, probe: Probe) -> Result<Vec<Cursor>, StoreError> {
        let (answer, answered) = oneshot::channel();
        if self.searches.add(probe, answer)? {
            let passes = Passes(self.clone());
            tokio::spawn(async move {
                loop {
                    let searches = passes.0.searches.take();
                    if searches.is_empty() {
                        return;
                    }
                    let begun = Instant::now();
                    passes.0.pass(searches).await;
                    tokio::time::sleep((begun.elapsed() * PAUSE).min(LONGEST_PAUSE)).await;
                }
            });
        }
        answered.await.unwrap_or(Err(StoreError::Timeout))
    }

    /// Reads the registry once for all of them.
    async fn pass(&self, searches: Vec<(Probe, Vec<Answer>)>) {
        let mut found = vec![Vec::new(); searches.len()];
        let see = |entry: &Entry| {
            for ((probe, _), found) in searches.iter().zip(&mut found) {
                if probe.may_fit(entry.signature.as_ref()) {
                    found.push(entry.place);
                }
            }
        };
        let read = self.registry.scan(see).await;
        for ((_, answers), places) in searches.into_iter().zip(found) {
            let places = newest_first(places);
            for answer in answers {
                // Nobody may wait for it any more.
                let _ = answer.send(match &read {
                    Ok(()) => Ok(places.clone()),
                    Err(error) => Err(error.for_another()),
                });
            }
        }
    }
}
