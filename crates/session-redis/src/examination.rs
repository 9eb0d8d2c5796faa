//! The examination of a Redis for `check`: whether it can be used as it is, and if not, why, and what to do.
//!
//! It has a connection of its own, which says what went wrong in Redis' own words. Every command that the broker needs
//! is tried in a way that leaves nothing, on a key of each kind.

use redis_protocol::resp3::types::{BytesFrame, Resp3Frame};

use super::RedisSettings;
use super::client::configured;
use crate::feed::Address;
use crate::feed::connection::{Connection, RespError, items};

/// The oldest version that tells of everything the broker relies on.
const OLDEST: u32 = 7;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// All is well.
    Fine(String),
    /// It works, and somebody will be surprised one day.
    Warning(String),
    /// It does not work.
    Fault(String),
}

/// Examines the first server that the settings name.
pub async fn examine(settings: &RedisSettings) -> Vec<Finding> {
    match connected(settings).await {
        Ok((mut connection, is_sentinel)) if is_sentinel => vec![sentinel(&mut connection).await],
        Ok((mut connection, _)) => {
            let mut findings = server(&mut connection).await;
            findings.extend(rights(&mut connection, &settings.prefix).await);
            findings
        }
        Err(fault) => vec![Finding::Fault(fault)],
    }
}

async fn connected(settings: &RedisSettings) -> Result<(Connection, bool), String> {
    let (config, mut access) = configured(settings).map_err(|error| error.to_string())?;
    let hosts = config.server.hosts();
    let server = hosts.first().ok_or("the URL names no server")?;
    let address = Address { host: server.host.to_string(), port: server.port };
    let is_sentinel = config.server.is_sentinel();
    if let fred::types::config::ServerConfig::Sentinel { username, password, .. } = &config.server {
        access.username.clone_from(username);
        access.password = password.clone().map(counterfoil_core::secret::Secret::new);
        access.database = 0;
    }
    let opened = Connection::open(&address, &access).await;
    opened.map(|connection| (connection, is_sentinel)).map_err(|talk| format!("{address}: {talk}: {}", remedy(&talk)))
}

/// Returns the remedy for a conversation that failed.
fn remedy(talk: &RespError) -> &'static str {
    let is = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
    match talk {
        RespError::Refused(text) if is(text, &["WRONGPASS", "invalid password", "invalid username"]) => {
            "the user name or the password in the URL is wrong"
        }
        RespError::Refused(text) if is(text, &["NOAUTH"]) => "it wants a password: redis://user:password@…",
        RespError::Refused(text) if is(text, &["without any password"]) => {
            "it has no password: leave it out of the URL"
        }
        RespError::Refused(text) if is(text, &["protected mode", "DENIED"]) => {
            "protected mode: give it a password, or let it listen where the broker is"
        }
        RespError::Refused(text) if is(text, &["NOPERM"]) => "its user lacks rights: see the ACL line in the README",
        RespError::Refused(text) if is(text, &["DB index"]) => "the database number in the URL is too high",
        RespError::Refused(text) if is(text, &["unknown command", "NOPROTO"]) => "it is older than Redis 7",
        RespError::Io(error) if is(&error.to_string(), &["certificate"]) => {
            "its certificate is not believed: set store.ca_file to its authority, and name the host as the certificate does"
        }
        RespError::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "is it running, and on this port?"
        }
        RespError::Io(_) => "is the host right, and does it speak TLS exactly if the URL begins with rediss?",
        RespError::Silent => "is it reachable from here, and does it speak TLS exactly if the URL begins with rediss?",
        RespError::Closed | RespError::Protocol(_) | RespError::OutOfStep => {
            "is this the port of Redis, and does it speak TLS exactly if the URL begins with rediss?"
        }
        RespError::Name => "name the host as its certificate does",
        RespError::Refused(_) | RespError::NoMajority => "see Redis' own log",
    }
}

async fn sentinel(connection: &mut Connection) -> Finding {
    match connection.ask(&["ROLE"]).await {
        Ok(role) if items(&role).first().and_then(BytesFrame::as_str) == Some("sentinel") => {
            Finding::Fine("Sentinel answers".into())
        }
        Ok(_) => Finding::Fault("the first server is no Sentinel: its port is 26379 unless configured".into()),
        // Its users need no right to that.
        Err(_) => Finding::Fine("Sentinel answers".into()),
    }
}

async fn server(connection: &mut Connection) -> Vec<Finding> {
    let mut information = String::new();
    for section in ["server", "memory", "replication"] {
        match connection.ask(&["INFO", section]).await {
            Ok(said) => information.push_str(said.as_str().unwrap_or_default()),
            Err(talk) => return vec![Finding::Fault(format!("{talk}: {}", remedy(&talk)))],
        }
    }
    judged(&information)
}

/// Judges the server's own report (`INFO`). Pure.
fn judged(information: &str) -> Vec<Finding> {
    let value = |name: &str| {
        let line = information.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    };
    let version = value("redis_version");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or_default();
    let mut findings = vec![if major < OLDEST {
        Finding::Fault(format!("it is Redis {version}: version {OLDEST} or newer is needed"))
    } else {
        Finding::Fine(format!("Redis {version} answers"))
    }];
    if value("role") == "slave" {
        findings.push(Finding::Fault("it is a replica and takes no writes: name the primary, or use Sentinel".into()));
    }
    let policy = value("maxmemory_policy");
    if !policy.is_empty() && policy != "noeviction" {
        findings.push(Finding::Warning(format!(
            "maxmemory-policy is {policy}: when memory runs out, people are signed out and revocations are forgotten; set noeviction"
        )));
    }
    findings
}

/// Tries what the broker does.
async fn rights(connection: &mut Connection, prefix: &str) -> Vec<Finding> {
    let mut missing: Vec<String> = Vec::new();
    for key in ["cf-check".to_owned(), format!("{prefix}check")] {
        // The key is not there, and XX makes none.
        let tried: [&[&str]; 10] = [
            &["GETRANGE", &key, "0", "0"],
            &["SET", &key, "1", "XX", "PX", "1"],
            &["DEL", &key],
            &["PTTL", &key],
            &["EXPIREAT", &key, "1", "GT"],
            &["ZADD", &key, "XX", "0", "member"],
            &["ZREM", &key, "member"],
            &["ZRANGE", &key, "0", "0"],
            &["ZCARD", &key],
            &["PING"],
        ];
        missing.extend(refused(connection, &tried).await);
    }
    let key = format!("{prefix}check");
    let others: [&[&str]; 16] = [
        &["HSETNX", &key, "field", "1"],
        &["HSET", &key, "field", "1"],
        &["HGETALL", &key],
        &["HDEL", &key, "field"],
        &["EVAL", "return 0", "1", &key],
        &["DEL", &key],
        &["XADD", &key, "NOMKSTREAM", "*", "e", "t"],
        &["XRANGE", &key, "-", "+"],
        &["XREVRANGE", &key, "+", "-"],
        &["XDEL", &key, "0-1"],
        &["WAIT", "0", "1"],
        &["ROLE"],
        &["CLIENT", "ID"],
        &["SELECT", "0"],
        &["CLIENT", "TRACKING", "ON", "OPTIN"],
        &["CLIENT", "CACHING", "YES"],
    ];
    // Database 0 is the only one that is known to exist.
    missing.extend(refused(connection, &others).await);
    missing.dedup();
    if missing.is_empty() {
        return vec![Finding::Fine("its user may do all that is needed".into())];
    }
    let missing = missing.join("; ");
    vec![Finding::Fault(format!("its user lacks rights: {missing}: see the ACL line in the README"))]
}

/// Returns those of these that are refused for want of rights, in Redis' own words.
async fn refused(connection: &mut Connection, tried: &[&[&str]]) -> Vec<String> {
    let mut refused = Vec::new();
    for words in tried {
        if let Err(RespError::Refused(text)) = connection.ask(words).await
            && text.starts_with("NOPERM")
        {
            let command = if words[0] == "CLIENT" { words[..2].join("|") } else { words[0].to_owned() };
            let of = words.get(1).filter(|key| key.ends_with("check")).map(|key| format!(" of {key}"));
            refused.push(format!("{}{}", command.to_lowercase(), of.unwrap_or_default()));
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_judged_by_what_the_broker_needs() {
        let of = |text: &str| {
            let faults = |finding: &Finding| matches!(finding, Finding::Fault(_));
            let warns = |finding: &Finding| matches!(finding, Finding::Warning(_));
            let found = judged(text);
            (
                found.iter().filter(|finding| faults(finding)).count(),
                found.iter().filter(|finding| warns(finding)).count(),
            )
        };
        let good = "redis_version:7.2.4\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n";
        assert_eq!(of(good), (0, 0));
        for (changed, found) in [
            (good.replace("7.2.4", "6.2.14"), (1, 0)),
            (good.replace("7.2.4", "255.255.255"), (0, 0)),
            (good.replace("redis_version", "other"), (1, 0)),
            (good.replace("role:master", "role:slave"), (1, 0)),
            (good.replace("noeviction", "allkeys-lru"), (0, 1)),
            (good.replace("noeviction", "volatile-ttl"), (0, 1)),
        ] {
            assert_eq!(of(&changed), found, "{changed}");
        }
    }
}
