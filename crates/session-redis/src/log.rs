//! Logs as Redis streams, read and written through the pool.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use counterfoil_session::store::StoreError;
use counterfoil_session::store::log::{Appended, Log, LogNumber, LogRead, MOST_READ};
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::StreamsInterface;
use fred::types::Value;

use crate::{RedisBackend, on_the_server_of};

/// The one field that an entry has.
const FIELD: &str = "e";
/// Longest wait for replicas to confirm an entry.
const REPLICATION: Duration = Duration::from_millis(100);

/// The part of Redis' refusal of a number that is not beyond the last one.
const TOO_LOW: &str = "equal or smaller";

/// Entries as Redis answers them: each with its number and its fields.
type Entries = Vec<(String, Vec<Bytes>)>;

#[async_trait]
impl Log for RedisBackend {
    async fn append(&self, log: &str, entry: &[u8]) -> Result<Appended, StoreError> {
        let key = &self.value_key(log);
        let append = |client: Client| async move {
            let pipeline = client.pipeline();
            let _: () = on_the_server_of(key, &pipeline, "CLIENT", vec!["ID".into()]).await?;
            let _: () = pipeline.xadd(key, false, None, "*", (FIELD, entry)).await?;
            let _: () = on_the_server_of(key, &pipeline, "ROLE", Vec::new()).await?;
            let _: () = on_the_server_of(key, &pipeline, "CLIENT", vec!["ID".into()]).await?;
            let (connection, number, role, same): (i64, String, Vec<Value>, i64) = pipeline.all().await?;
            let is_replicated =
                connection == same && is_replicated(&client, key, &role, connection).await.unwrap_or(false);
            Ok((number, is_replicated))
        };
        let (number, is_replicated) = self.ask(append).await?;
        Ok(Appended { number: parsed(&number)?, is_replicated })
    }

    async fn newest(&self, log: &str) -> Result<Option<LogNumber>, StoreError> {
        let key = &self.value_key(log);
        let read = |client: Client| async move { client.xrevrange::<Value, _, _, _>(key, "+", "-", Some(1)).await };
        let entries = entries(self.ask(read).await?)?;
        entries.first().map(|(number, _)| parsed(number)).transpose()
    }

    async fn read_watched(&self, log: &str, behind: LogNumber) -> Result<LogRead, StoreError> {
        let key = self.value_key(log);
        match self.invalidation.read_log(key.clone(), behind).await {
            Some(read) => Ok(read),
            None => read(self, &key, behind).await,
        }
    }

    async fn advance(&self, log: &str, beyond: LogNumber, entry: &[u8]) -> Result<(), StoreError> {
        let (key, number) = (&self.value_key(log), &beyond.next().to_string());
        let append = |client: Client| async move {
            match client.xadd::<Value, _, _, _, _>(key, false, None, number.as_str(), (FIELD, entry)).await {
                // It is beyond that already.
                Err(error) if error.details().contains(TOO_LOW) => Ok(()),
                added => added.map(drop),
            }
        };
        self.ask(append).await
    }

    async fn delete_entry(&self, log: &str, number: LogNumber) -> Result<bool, StoreError> {
        let key = &self.value_key(log);
        let number = &number.to_string();
        let deleted: u64 = self.ask(|client| async move { client.xdel(key, number.as_str()).await }).await?;
        Ok(deleted > 0)
    }
}

async fn read(store: &RedisBackend, key: &str, behind: LogNumber) -> Result<LogRead, StoreError> {
    let behind = &format!("({behind}");
    let read = |client: Client| async move {
        client.xrange::<Value, _, _, _>(key, behind.as_str(), "+", Some(MOST_READ as u64)).await
    };
    let numbered = |(number, fields): (String, Vec<Bytes>)| {
        let entry = fields.get(1).map(|entry| entry.to_vec()).unwrap_or_default();
        Ok((parsed(&number)?, entry))
    };
    let entries = entries(store.ask(read).await?)?;
    Ok(LogRead { entries: entries.into_iter().map(numbered).collect::<Result<_, StoreError>>()?, watch: None })
}

/// Waits until most of a primary's replicas have what was written to it on this connection; is true if they have.
async fn is_replicated(client: &Client, key: &str, role: &[Value], connection: i64) -> Result<bool, Error> {
    let replicas = role.get(2).map_or(0, |replicas| match replicas {
        Value::Array(replicas) => replicas.len(),
        _ => 0,
    });
    if replicas == 0 {
        return Ok(true);
    }
    let needed = replicas / 2 + 1;
    let patience = i64::try_from(REPLICATION.as_millis()).unwrap_or(i64::MAX);
    let words = vec![Value::from(i64::try_from(needed).unwrap_or(i64::MAX)), Value::from(patience)];
    let confirmed: usize = on_the_server_of(key, client, "WAIT", words).await?;
    // On another connection the answer is about something else.
    let same: i64 = on_the_server_of(key, client, "CLIENT", vec!["ID".into()]).await?;
    Ok(confirmed >= needed && same == connection)
}

fn entries(answer: Value) -> Result<Entries, StoreError> {
    if answer.is_null() { Ok(Vec::new()) } else { answer.convert().map_err(StoreError::backend) }
}

fn parsed(number: &str) -> Result<LogNumber, StoreError> {
    number.parse().map_err(StoreError::backend)
}
