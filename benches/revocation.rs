//! The time that a session lives on after it was ended: `cargo bench --bench revocation -- [TRIALS [FAILOVERS]]`; and the
//! logins that a revocation overtakes: `cargo bench --bench revocation -- logins [NUMBER]` ([`login_race`]).
//!
//! Two real brokers, A and B, share one Redis. In each trial a session is cached by both, a prober asks B for a page
//! again and again on one connection, and somebody ends the session: by A's API, or in Redis itself. Measured is the
//! time from sending the command to the first 401 read whole; in `PEXPIRE` from the moment it was due; for evictions
//! from sending the write that evicted. Nothing else is going on.
//!
//! `200 too late` counts pages given to requests that were sent more than 10 ms after the command was acknowledged.
//! `REDIS_SERVER` names another server's program (`benches/servers.sh`).

#[path = "common/login_race.rs"]
mod login_race;
#[path = "common/processes.rs"]
mod processes;
#[path = "common/sessions.rs"]
mod sessions;
#[path = "common/wire.rs"]
mod wire;

use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use counterfoil::session::Sessions;
use tokio::runtime::Runtime;

use crate::processes::{Folder, Program, free_port, redis_server};
use crate::sessions::{configuration, cookie, establish, open, random_key, settings};
use crate::wire::{Browser, Redis};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// After the acknowledgement of a command; then no page may be given.
const GRACE: Duration = Duration::from_millis(10);
/// How long the prober goes on after everything is over, to see that nothing comes back.
const AFTERMATH: Duration = Duration::from_millis(20);
/// Longest wait for a 401.
const PATIENCE: Duration = Duration::from_secs(30);
const API_TOKEN: &str = "a token of this measurement alone";
/// How long before its end `PEXPIRE` is told.
const NOTICE: Duration = Duration::from_millis(30);

/// Memory that Redis may still use before it evicts.
const ROOM: u64 = 256 * 1024;

/// How a session is ended.
#[derive(Clone, Copy)]
enum Way {
    Api,
    Delete,
    ExpireAtOnce,
    ExpireSoon,
    FlushAll,
    Evict,
}

const WAYS: [(Way, &str); 6] = [
    (Way::Api, "API of another broker"),
    (Way::Delete, "`DEL`"),
    (Way::ExpireAtOnce, "`EXPIRE` 0"),
    (Way::ExpireSoon, "`PEXPIRE` 30, from when it was due"),
    (Way::FlushAll, "`FLUSHALL`"),
    (Way::Evict, "evicted (allkeys-lru)"),
];

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench").peekable();
    let is_race = arguments.next_if(|argument| argument == "logins").is_some();
    let arguments = arguments.map(|argument| argument.parse()).collect::<Result<Vec<usize>, _>>()?;
    if is_race {
        let port = free_port();
        let _redis = Program::redis(port, &[]);
        let mut house = House::open(&format!("redis://127.0.0.1:{port}/0"))?;
        return login_race::race(&mut house, arguments.first().copied().unwrap_or(10_000));
    }
    let trials = arguments.first().copied().unwrap_or(1_000);
    let failovers = arguments.get(1).copied().unwrap_or(5);
    println!("| ended by | trials | p50 | p90 | p99 | max | 200 too late |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let port = free_port();
    let _redis = Program::redis(port, &[]);
    let mut house = House::open(&format!("redis://127.0.0.1:{port}/0"))?;
    let mut redis = Redis::connect(port)?;
    // Each trial has a person of its own: whose sessions were just ended may not be signed in again in that second.
    let mut people = 0..;
    for (way, name) in WAYS {
        let mut tally = Tally::default();
        for person in people.by_ref().take(trials) {
            tally.add(&house.trial(person, &mut redis, |house, redis, handle| Ok(end(way, house, redis, handle)?))?);
            if matches!(way, Way::Evict) {
                // Room again, and nothing of the filling in it.
                redis.ask(&["CONFIG", "SET", "maxmemory", "0"])?;
                redis.ask(&["FLUSHALL"])?;
            }
        }
        tally.print(name);
    }
    drop(house);
    fail_over(failovers)
}

fn end(way: Way, house: &mut House, redis: &mut Redis, handle: &str) -> io::Result<Ended> {
    let at = Instant::now();
    match way {
        Way::Api => {
            house.revoke(&format!(r#"{{"handles": ["{handle}"], "reason": "measured"}}"#))?;
        }
        Way::Delete => _ = redis.ask(&["DEL", handle])?,
        Way::ExpireAtOnce => _ = redis.ask(&["EXPIRE", handle, "0"])?,
        Way::ExpireSoon => {
            redis.ask(&["PEXPIRE", handle, &NOTICE.as_millis().to_string()])?;
            return Ok(Ended { at: at + NOTICE, acknowledged: Instant::now() + NOTICE });
        }
        Way::FlushAll => _ = redis.ask(&["FLUSHALL"])?,
        Way::Evict => return evict(redis, handle),
    }
    Ok(Ended { at, acknowledged: Instant::now() })
}

/// Fills a Redis that is nearly full until it gives up the record.
fn evict(redis: &mut Redis, handle: &str) -> io::Result<Ended> {
    let full = redis.info("used_memory")? + ROOM;
    redis.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", &full.to_string()])?;
    let filling = "x".repeat(4_096);
    for number in 0..100_000 {
        let at = Instant::now();
        redis.ask(&["SET", &format!("filling:{number}"), &filling])?;
        let acknowledged = Instant::now();
        if redis.ask(&["EXISTS", handle])? == "0" {
            return Ok(Ended { at, acknowledged });
        }
    }
    Err(io::Error::other("the record was never evicted"))
}

/// Two brokers with a back office behind them, and the way to make sessions.
struct House {
    runtime: Runtime,
    sessions: Sessions,
    at_a: Browser,
    port_of_b: u16,
    _brokers: [Program; 2],
    _folder: Folder,
}

impl House {
    fn open(redis: &str) -> Result<Self, Failed> {
        // Its worker serves the pages; this thread only measures.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let office = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let upstream = office.local_addr()?;
        let pages = axum::Router::new().fallback(async || "ok");
        runtime.spawn(counterfoil::app::server::serve(office, pages, std::future::pending(), Duration::ZERO));
        let more = format!(
            "[[route]]\npath = \"/\"\nupstream = \"http://{upstream}\"\non_anonymous = \"401\"\n\
             [admin]\napi_tokens = [\"{API_TOKEN}\"]\n"
        );
        let configuration = configuration(redis, &random_key(), "", &more);
        let (folder, port_of_a, port_of_b) = (Folder::new(), free_port(), free_port());
        let brokers = [port_of_a, port_of_b].map(|port| Program::broker(&folder, port, &configuration));
        let settings = settings(configuration);
        let sessions = {
            let _entered = runtime.enter();
            open(&settings)
        };
        let at_a = Browser::connect(port_of_a)?;
        Ok(Self { runtime, sessions, at_a, port_of_b, _brokers: brokers, _folder: folder })
    }

    /// Tells broker A to end sessions, and waits for its acknowledgement.
    fn revoke(&mut self, order: &str) -> io::Result<()> {
        let header = format!("Authorization: Bearer {API_TOKEN}\r\nContent-Type: application/json");
        let request = Browser::request("POST", "/sso/api/v1/revocations", &header, order);
        let (status, answer) = self.at_a.ask(&request)?;
        if status == 200 { Ok(()) } else { Err(io::Error::other(answer)) }
    }

    /// One session from its beginning to its end, which `end` brings about.
    fn trial(
        &mut self,
        person: usize,
        redis: &mut Redis,
        end: impl FnOnce(&mut Self, &mut Redis, &str) -> Result<Ended, Failed>,
    ) -> Result<Seen, Failed> {
        let keys = self.runtime.block_on(establish(&self.sessions, person..person + 1, 5));
        let [key] = keys.as_slice() else { return Err("no session was made".into()) };
        let page = Browser::request("GET", "/", &format!("Cookie: {}", cookie(&key.expose_cookie_value())), "");
        let mut at_b = Browser::connect(self.port_of_b)?;
        let begun = Instant::now();
        // Until both answer without reading it in Redis, which takes a PTTL.
        loop {
            let reads = redis.info("cmdstat_pttl").unwrap_or_default();
            let statuses = [self.at_a.ask(&page)?.0, at_b.ask(&page)?.0];
            if statuses == [200, 200] && redis.info("cmdstat_pttl").unwrap_or_default() == reads {
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("the session was never cached by both: {statuses:?}").into());
            }
        }
        let signs = Signs::default();
        std::thread::scope(|scope| {
            let prober = scope.spawn(|| probe(at_b, &page, &signs));
            let ended = signs.wait(|signs| signs.answers.load(Ordering::Relaxed) >= 5);
            let ended = ended.and_then(|()| end(self, redis, &key.handle().to_string()));
            if let Ok(ended) = &ended {
                signs
                    .wait(|signs| signs.refused.load(Ordering::Relaxed) && ended.acknowledged.elapsed() > AFTERMATH)?;
            }
            signs.stop.store(true, Ordering::Relaxed);
            let answers = prober.join().map_err(|_| "the prober panicked")??;
            Ok(Seen { answers, ended: ended? })
        })
    }
}

/// When a session was ended.
struct Ended {
    /// From when it counts.
    at: Instant,
    acknowledged: Instant,
}

/// One answer of broker B.
struct Answer {
    sent: Instant,
    received: Instant,
    status: u16,
}

/// What the prober and the one who ends the session tell each other.
#[derive(Default)]
struct Signs {
    answers: AtomicUsize,
    refused: AtomicBool,
    stop: AtomicBool,
}

impl Signs {
    fn wait(&self, until: impl Fn(&Self) -> bool) -> Result<(), Failed> {
        let begun = Instant::now();
        while !until(self) {
            if begun.elapsed() > PATIENCE {
                self.stop.store(true, Ordering::Relaxed);
                return Err("the session was not ended in time".into());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

/// Asks for a page again and again.
fn probe(mut browser: Browser, page: &[u8], signs: &Signs) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    while !signs.stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let (status, _) = browser.ask(page)?;
        answers.push(Answer { sent, received: Instant::now(), status });
        signs.answers.fetch_add(1, Ordering::Relaxed);
        if status == 401 {
            signs.refused.store(true, Ordering::Relaxed);
        }
    }
    Ok(answers)
}

/// What was seen of one trial.
struct Seen {
    answers: Vec<Answer>,
    ended: Ended,
}

impl Seen {
    /// From the end of the session to the first 401.
    fn latency(&self) -> Duration {
        let refused = self.answers.iter().find(|answer| answer.status == 401);
        refused.map_or(Duration::MAX, |answer| answer.received.saturating_duration_since(self.ended.at))
    }

    /// Pages given when none should have been.
    fn too_late(&self) -> usize {
        let is_late = |answer: &&Answer| answer.status == 200 && answer.sent > self.ended.acknowledged + GRACE;
        self.answers.iter().filter(is_late).count()
    }

    /// From the last page to the first 401, and how many refusals with 503 came between.
    fn outage(&self) -> (Duration, usize) {
        let last = self.answers.iter().rposition(|answer| answer.status == 200).unwrap_or_default();
        let refused = self.answers.iter().find(|answer| answer.status == 401);
        let lasted = refused.map_or(Duration::MAX, |answer| answer.received - self.answers[last].received);
        (lasted, self.answers.iter().filter(|answer| answer.status == 503).count())
    }
}

/// The trials of one way.
#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    too_late: usize,
}

impl Tally {
    fn add(&mut self, seen: &Seen) {
        self.latencies.push(seen.latency());
        self.too_late += seen.too_late();
    }

    fn print(mut self, name: &str) {
        self.latencies.sort_unstable();
        let last = self.latencies.len() - 1;
        let percentile = |percent: usize| milliseconds(self.latencies[(last * percent).div_ceil(100)]);
        let percentiles = [50, 90, 99, 100].map(percentile).join(" | ");
        println!("| {name} | {} | {percentiles} | {} |", self.latencies.len(), self.too_late);
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// The primary dies; Sentinel promotes its replica; there the record is deleted.
fn fail_over(trials: usize) -> Result<(), Failed> {
    if trials == 0 {
        return Ok(());
    }
    println!();
    println!(
        "| failover | killed to promoted | last page to first 401 | 503 between | `DEL` on the new primary to 401 | 200 too late |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for trial in 1..=trials {
        let (folder, ports) = (Folder::new(), [free_port(), free_port(), free_port()]);
        let [primary_port, replica_port, sentinel_port] = ports;
        let mut primary = Some(Program::redis(primary_port, &[]));
        let _replica = Program::redis(replica_port, &["--replicaof", "127.0.0.1", &primary_port.to_string()]);
        let file = folder.path().join("sentinel.conf");
        let watch = format!("sentinel monitor main 127.0.0.1 {primary_port} 1");
        let patience = "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000";
        std::fs::write(&file, format!("port {sentinel_port}\n{watch}\n{patience}\n"))?;
        let _sentinel = Program::start(Command::new(redis_server()).arg(file).arg("--sentinel"), sentinel_port);
        let mut sentinel = Redis::connect(sentinel_port)?;
        wait_for(|| Ok(sentinel.ask(&["SENTINEL", "REPLICAS", "main"])?.contains(&replica_port.to_string())))?;
        let url = format!("redis-sentinel://127.0.0.1:{sentinel_port}/0?sentinelServiceName=main");
        let mut house = House::open(&url)?;
        let mut promotion = Duration::ZERO;
        let seen = house.trial(trial, &mut Redis::connect(primary_port)?, |_, redis, handle| {
            redis.ask(&["WAIT", "1", "1000"])?;
            let killed = Instant::now();
            drop(primary.take());
            wait_for(|| Ok(Redis::connect(replica_port)?.ask(&["ROLE"])?.starts_with("master")))?;
            promotion = killed.elapsed();
            let mut promoted = Redis::connect(replica_port)?;
            let at = Instant::now();
            promoted.ask(&["DEL", handle])?;
            Ok(Ended { at, acknowledged: Instant::now() })
        })?;
        let (outage, unavailable) = seen.outage();
        let [promotion, outage, latency] = [promotion, outage, seen.latency()].map(milliseconds);
        println!("| {trial} | {promotion} | {outage} | {unavailable} | {latency} | {} |", seen.too_late());
    }
    Ok(())
}

fn wait_for(mut is_so: impl FnMut() -> io::Result<bool>) -> Result<(), Failed> {
    let begun = Instant::now();
    // Whoever is promoted ends its connections.
    let lost =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof);
    while !is_so().or_else(|error| if lost(&error) { Ok(false) } else { Err(error) })? {
        if begun.elapsed() > PATIENCE {
            return Err("Redis was not ready in time".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
