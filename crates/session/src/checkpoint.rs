//! Checkpoints: how far a pass over many sessions has come, left in the store for whoever goes on with it.
//!
//! A checkpoint counts for the pass that it names, and for no other. Integrity: it is sealed, so whoever can write to Redis
//! cannot let a pass skip sessions. One that cannot be read, whatever is wrong with it, counts as none: the pass begins anew,
//! and its next checkpoint takes the place of that one.

use std::sync::Arc;

use counterfoil_core::secret::keyring::{Keyring, Sealer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::store::{KeyValue, StoreError};

/// The checkpoints of one store.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    values: Arc<dyn KeyValue>,
    sealer: Sealer,
}

impl Checkpoints {
    pub(crate) fn new(values: Arc<dyn KeyValue>, keyring: &Keyring) -> Self {
        Self { values, sealer: keyring.sealer("counterfoil checkpoint v1", &[]) }
    }

    /// Returns the checkpoint under a name, if it is of this pass.
    pub(crate) async fn find<T: DeserializeOwned>(&self, name: &str, pass: &str) -> Option<T> {
        match self.values.get(name).await {
            Ok(sealed) => self.sealer.open_json(&subject(name, pass), &sealed?).ok(),
            Err(error) => {
                tracing::warn!(name, %error, "a checkpoint cannot be read, so its pass begins anew");
                None
            }
        }
    }

    /// Leaves a checkpoint of a pass, until then.
    pub(crate) async fn leave<T: Serialize>(
        &self,
        name: &str,
        pass: &str,
        checkpoint: &T,
        until: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let sealed = self.sealer.seal_json(&subject(name, pass), checkpoint);
        self.values.put(name, &sealed, Some(until)).await
    }

    /// Removes the checkpoint of a pass that has come to its end.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.values.remove(name).await
    }
}

/// The associated data of a checkpoint.
fn subject(name: &str, pass: &str) -> Vec<u8> {
    format!("{name} {pass}").into_bytes()
}

#[cfg(test)]
mod tests {
    use counterfoil_core::clock::{Clock, ManualClock, SystemClock};

    use super::*;
    use crate::store::memory::MemoryStore;

    /// One line a case: where a checkpoint was copied to, and whether it counts there.
    #[tokio::test]
    async fn a_checkpoint_counts_for_its_own_pass_alone() {
        let clock = ManualClock::at(SystemClock.now());
        let (store, keyring) = (Arc::new(MemoryStore::new(clock.clone())), Keyring::ephemeral());
        let checkpoints = Checkpoints::new(store.clone(), &keyring);
        let until = clock.now() + time::Duration::DAY;
        checkpoints.leave("walk:1", "1", &7, until).await.unwrap();
        let sealed = store.get("walk:1").await.unwrap().unwrap();
        for (name, pass, counts) in [("walk:1", "1", true), ("walk:1", "2", false), ("walk:2", "1", false)] {
            store.put(name, &sealed, None).await.unwrap();
            assert_eq!(checkpoints.find::<i32>(name, pass).await, counts.then_some(7), "{name} {pass}");
        }
        for invented in [&b"7"[..], b"", b"\x01"] {
            store.put("walk:1", invented, None).await.unwrap();
            assert_eq!(checkpoints.find::<i32>("walk:1", "1").await, None);
        }
        let others = Checkpoints::new(store.clone(), &Keyring::ephemeral());
        store.put("walk:1", &sealed, None).await.unwrap();
        assert_eq!(others.find::<i32>("walk:1", "1").await, None, "its key is gone");
        checkpoints.remove("walk:1").await.unwrap();
        assert_eq!(checkpoints.find::<i32>("walk:1", "1").await, None);
    }
}
