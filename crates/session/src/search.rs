//! Searches for persons whose index is missing: they have no session, or somebody deleted the index.
//!
//! Providers send logout tokens as often as they like, most of them about people who have no session left. So those who
//! wait for a search share one pass over the registry (single-flight), and passes take at most a tenth of the time.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use counterfoil_core::lock;
use tokio::sync::oneshot;

use super::inner::Inner;
use super::listing::newest_first;
use super::registry::{Cursor, Entry};
use super::signature::Probe;
use super::store::StoreError;

/// The pause behind a pass, by the time that it took.
const PAUSE: u32 = 10;

type Answer = oneshot::Sender<Result<Vec<Cursor>, StoreError>>;

/// The searches that wait for the next pass.
#[derive(Debug, Default)]
pub(crate) struct Searches(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    searches: Vec<(Probe, Answer)>,
    /// Set while a task makes passes.
    is_running: bool,
}

impl Searches {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.0)
    }

    /// Adds a search; returns whether somebody has to begin to make passes.
    fn add(&self, probe: Probe, answer: Answer) -> bool {
        let mut waiting = self.waiting();
        waiting.searches.push((probe, answer));
        !mem::replace(&mut waiting.is_running, true)
    }

    /// Takes those who wait; if nobody does, passes end.
    fn take(&self) -> Vec<(Probe, Answer)> {
        let mut waiting = self.waiting();
        waiting.is_running = !waiting.searches.is_empty();
        mem::take(&mut waiting.searches)
    }
}

impl Inner {
    /// Returns the sessions whose signatures do not say no, newest first.
    pub(crate) async fn search(self: &Arc<Self>, probe: Probe) -> Result<Vec<Cursor>, StoreError> {
        let (answer, answered) = oneshot::channel();
        if self.searches.add(probe, answer) {
            let inner = Arc::downgrade(self);
            tokio::spawn(async move {
                while let Some(inner) = inner.upgrade() {
                    let searches = inner.searches.take();
                    if searches.is_empty() {
                        return;
                    }
                    let begun = Instant::now();
                    inner.pass(searches).await;
                    drop(inner);
                    tokio::time::sleep(begun.elapsed() * PAUSE).await;
                }
            });
        }
        answered.await.unwrap_or(Err(StoreError::Timeout))
    }

    /// Reads the registry once for all of them.
    async fn pass(&self, searches: Vec<(Probe, Answer)>) {
        let (probes, answers): (Vec<_>, Vec<_>) = searches.into_iter().unzip();
        let found = Mutex::new(vec![Vec::new(); probes.len()]);
        let see = |entry: &Entry| {
            for (index, probe) in probes.iter().enumerate() {
                if probe.may_fit(entry.signature.as_ref()) {
                    lock(&found)[index].push(entry.place);
                }
            }
        };
        let read = self.registry.scan(see).await.map_err(|error| error.to_string());
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (places, answer) in found.into_iter().zip(answers) {
            // Nobody may wait for it any more.
            let _ = answer.send(match &read {
                Ok(()) => Ok(newest_first(places)),
                Err(error) => Err(StoreError::backend(error.as_str())),
            });
        }
    }
}
