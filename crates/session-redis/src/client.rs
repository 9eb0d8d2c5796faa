//! fred as the store uses it: where it connects to, and how patient it is.

use std::time::Duration;

use counterfoil_core::secret::Secret;
use counterfoil_session::store::StoreError;
use fred::types::Builder;
use fred::types::config::{Config, ReconnectError, ReconnectPolicy, TlsConnector as FredTls};

use super::{RedisSettings, address, tls};
use crate::feed::Access;

/// Commands that may wait on a connection before new ones fail at once.
const LONGEST_QUEUE: usize = 10_000;

/// Returns the settings in fred's terms, and the way to any server.
pub(super) fn configured(settings: &RedisSettings) -> Result<(Config, Access), StoreError> {
    let url = settings.url.expose();
    // Its `s` is taken off: fred would want the system's authorities for it, also where others are named.
    let plain = url.strip_prefix("rediss").map(|rest| Secret::new(format!("redis{rest}")));
    let mut config =
        address::configuration(plain.as_ref().map_or(url, |plain| plain.expose())).map_err(StoreError::backend)?;
    config.fail_fast = false;
    let tls = plain.is_some().then(|| tls::connector(settings.certificate_authorities.as_deref())).transpose()?;
    config.tls = tls.clone().map(|connector| FredTls::Rustls(connector).into());
    let (username, password) = (config.username.clone(), config.password.clone().map(Secret::new));
    let access =
        Access { username, password, database: config.database.unwrap_or_default(), tls, timeout: settings.timeout };
    Ok((config, access))
}

/// Returns the builder of every client of the pool; `timeout` is the longest wait for a connection and for an answer.
pub(super) fn builder(config: Config, timeout: Duration) -> Builder {
    let mut builder = Builder::from_config(config);
    builder
        .with_performance_config(|performance| performance.default_command_timeout = timeout)
        .with_connection_config(|connection| {
            connection.connection_timeout = timeout;
            connection.internal_command_timeout = timeout;
            connection.max_command_attempts = 1;
            // Redirections are followed by `redirected`: fred ends its task when it is to follow ASK with one
            // attempt, and takes the answer of another command for that of ASKING with more.
            connection.max_redirections = 0;
            connection.max_command_buffer_len = LONGEST_QUEUE;
            connection.tcp.nodelay = Some(true);
            connection.reconnect_errors =
                vec![ReconnectError::ReadOnly, ReconnectError::Loading, ReconnectError::MasterDown];
        })
        .set_policy(ReconnectPolicy::new_exponential(0, 50, 2_000, 2));
    builder
}
