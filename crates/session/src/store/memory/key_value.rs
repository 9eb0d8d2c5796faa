//! Values and hashes in memory.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{Kind, MemoryStore};
use crate::store::{KeyValue, StoreError};

#[async_trait]
impl KeyValue for MemoryStore {
    async fn put(&self, name: &str, value: &[u8], until: Option<OffsetDateTime>) -> Result<(), StoreError> {
        self.lock_to_write().set_value(Kind::Value, name, value, until);
        Ok(())
    }

    async fn put_if_absent(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let mut state = self.lock_to_write();
        let is_new = state.value(Kind::Value, name, self.clock.now()).is_none();
        if is_new {
            state.set_value(Kind::Value, name, value, None);
        }
        Ok(is_new)
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().value(Kind::Value, name, self.clock.now()))
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.lock_to_write().values.remove(&(Kind::Value, name.to_owned()));
        Ok(())
    }

    async fn fields(&self, hash: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(self.lock().hashes.get(hash).cloned().unwrap_or_default().into_iter().collect())
    }

    async fn put_field(&self, hash: &str, field: &str, value: &[u8]) -> Result<(), StoreError> {
        let mut state = self.lock_to_write();
        state.hashes.entry(hash.to_owned()).or_default().insert(field.to_owned(), value.to_vec());
        Ok(())
    }

    async fn put_field_if_absent(&self, hash: &str, field: &str, value: &[u8]) -> Result<bool, StoreError> {
        let mut state = self.lock_to_write();
        let hash = state.hashes.entry(hash.to_owned()).or_default();
        let is_new = !hash.contains_key(field);
        hash.entry(field.to_owned()).or_insert_with(|| value.to_vec());
        Ok(is_new)
    }

    async fn remove_field(&self, hash: &str, field: &str) -> Result<(), StoreError> {
        self.lock_to_write().hashes.get_mut(hash).map(|hash| hash.remove(field));
        Ok(())
    }
}
