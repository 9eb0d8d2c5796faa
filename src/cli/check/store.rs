//! The store's half of `counterfoil check`: its usability, and its owner.

#[cfg(feature = "redis")]
use std::time::Duration;

use super::Finding;
use crate::clock::SharedClock;
use crate::config::StoreSettings;
use crate::secret::keyring::Keyring;
#[cfg(feature = "redis")]
use crate::session::key_check::StoreOwner;
use crate::session::policy::SessionRules;
#[cfg(feature = "redis")]
use crate::session::store::StoreError;
#[cfg(feature = "redis")]
use crate::session::{NearCacheSettings, Sessions};
#[cfg(feature = "redis")]
use crate::session_redis::examination::{self, examine};

/// The findings of `check` on the store.
#[cfg_attr(not(feature = "redis"), expect(unused_variables, clippy::unused_async, reason = "there is nobody to ask"))]
pub(super) async fn findings(
    store: &StoreSettings,
    keyring: &Keyring,
    rules: &SessionRules,
    clock: SharedClock,
) -> Vec<Finding> {
    match store {
        StoreSettings::Memory => vec![Finding::Fine("store.url: sessions are kept in this process".into())],
        #[cfg(feature = "redis")]
        StoreSettings::Redis(settings) => {
            let mut findings: Vec<_> = examine(settings).await.into_iter().map(named).collect();
            if !findings.iter().any(|finding| matches!(finding, Finding::Failure(_))) {
                findings.push(named(owner(store, keyring, rules, clock).await));
            }
            findings
        }
    }
}

#[cfg(feature = "redis")]
async fn owner(
    store: &StoreSettings,
    keyring: &Keyring,
    rules: &SessionRules,
    clock: SharedClock,
) -> examination::Finding {
    let asked = async {
        let backend = store.open(clock.clone())?;
        let uncached = NearCacheSettings { entries: 0, max_age: Duration::ZERO };
        Sessions::new(backend, keyring, rules.clone(), uncached, clock).maintenance().store_owner().await
    };
    match asked.await {
        Ok(StoreOwner::Us) => examination::Finding::Fine("the store was begun with one of secrets.keys".into()),
        Ok(StoreOwner::Nobody) => {
            examination::Finding::Fine("the store is new: the first broker begins it with its key".into())
        }
        Err(StoreError::Foreign(foreign)) => examination::Finding::Fault(foreign.to_string()),
        Err(error) => examination::Finding::Fault(format!("{error}: are all servers reachable from here?")),
    }
}

#[cfg(feature = "redis")]
fn named(finding: examination::Finding) -> Finding {
    let named = |text: String| format!("store.url: {text}");
    match finding {
        examination::Finding::Fine(text) => Finding::Fine(named(text)),
        examination::Finding::Warning(text) => Finding::Note(named(text)),
        examination::Finding::Fault(text) => Finding::Failure(named(text)),
    }
}
