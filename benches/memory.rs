//! What sessions occupy, in a broker's near cache and in Redis: `cargo bench --bench memory -- 0 100000 1000000`.
//!
//! For each number a Redis of its own is filled through the library, and a real broker is asked for each session
//! once, so that it keeps all of them; a second round shows that it does. Each person has one session (the dearest
//! case: every session has its person's list to itself), five groups, no tokens.

#[path = "common/processes.rs"]
mod processes;
#[path = "common/resident.rs"]
mod resident;
#[path = "common/sessions.rs"]
mod sessions;
#[path = "common/wire.rs"]
mod wire;

use std::io;

use counterfoil::session::key::SessionKey;

use crate::processes::{Folder, Program, free_port};
use crate::resident::resident_bytes;
use crate::sessions::{configuration, cookie, establish, open, random_key, settings};
use crate::wire::{Browser, Redis};

const GROUPS: usize = 5;
/// Sessions made between two looks at how far it is.
const BATCH: usize = 10_000;
/// Browsers that ask at the same time.
const BROWSERS: usize = 8;

/// What one number of sessions came to, in bytes.
struct Measured {
    sessions: usize,
    resident_before: u64,
    resident: u64,
    cached: usize,
    redis: u64,
    record: String,
}

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let numbers = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut numbers = numbers.map(|number| number.parse()).collect::<Result<Vec<usize>, _>>()?;
    if numbers.is_empty() {
        numbers = vec![0, 100_000, 1_000_000];
    }
    println!(
        "| sessions | broker, empty | broker, full | of them cached | per cached session | Redis per session | one record |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for number in numbers {
        let Measured { sessions, resident_before, resident, cached, redis, record } = measure(number)?;
        let per_session = |bytes: u64| match u64::try_from(sessions) {
            Ok(1..) => format!("{} B", bytes / sessions as u64),
            _ => "-".to_owned(),
        };
        println!(
            "| {sessions} | {} MB | {} MB | {cached} | {} | {} | {record} B |",
            resident_before / 1_000_000,
            resident / 1_000_000,
            per_session(resident.saturating_sub(resident_before)),
            per_session(redis),
        );
    }
    Ok(())
}

fn measure(number: usize) -> Result<Measured, Failed> {
    let (redis_port, port, folder) = (free_port(), free_port(), Folder::new());
    let _redis = Program::redis(redis_port, &[]);
    let mut redis = Redis::connect(redis_port)?;
    let redis_url = format!("redis://127.0.0.1:{redis_port}/0");
    // Shards fill unevenly: without room to spare some would have to evict.
    let store = format!("near_cache_entries = {}\nnear_cache_max_age = \"1h\"", (number + number / 4).max(10_000));
    let route = "[[route]]\npath = \"/\"\n";
    let configuration = configuration(&redis_url, &random_key(), &store, route);

    let empty = redis.info("used_memory")?;
    let keys = fill(configuration.clone(), number)?;
    let used = redis.info("used_memory")? - empty;
    let record = match keys.first() {
        Some(key) => redis.ask(&["MEMORY", "USAGE", &key.handle().to_string(), "SAMPLES", "0"])?,
        None => "-".to_owned(),
    };

    let broker = Program::broker(&folder, port, &configuration);
    std::thread::sleep(std::time::Duration::from_secs(1));
    // Connections and the code of the first requests belong to nobody's session.
    visit(port, &keys[..keys.len().min(BROWSERS)])?;
    let resident_before = resident_bytes(broker.0.id())?;
    visit(port, &keys)?;
    let resident = resident_bytes(broker.0.id())?;
    // Reading a session takes a PTTL, and nothing else does.
    let before = redis.info("cmdstat_pttl").unwrap_or_default();
    visit(port, &keys)?;
    let read_again = usize::try_from(redis.info("cmdstat_pttl").unwrap_or_default() - before)?;
    Ok(Measured {
        sessions: number,
        resident_before,
        resident,
        cached: number.saturating_sub(read_again),
        redis: used,
        record,
    })
}

/// Signs so many people in.
fn fill(configuration: String, number: usize) -> Result<Vec<SessionKey>, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let settings = settings(configuration);
    Ok(runtime.block_on(async {
        let sessions = open(&settings);
        let mut keys = Vec::with_capacity(number);
        while keys.len() < number {
            let people = keys.len()..number.min(keys.len() + BATCH);
            keys.extend(establish(&sessions, people, GROUPS).await);
            eprint!("\r{} of {number} sessions", keys.len());
        }
        eprintln!();
        keys
    }))
}

/// Asks the broker for each session once.
fn visit(port: u16, keys: &[SessionKey]) -> io::Result<()> {
    std::thread::scope(|scope| {
        let visits = keys.chunks(keys.len().div_ceil(BROWSERS).max(1)).map(|keys| {
            scope.spawn(move || {
                let mut browser = Browser::connect(port)?;
                for key in keys {
                    let cookie = format!("Cookie: {}", cookie(&key.expose_cookie_value()));
                    let (status, answer) = browser.ask(&Browser::request("GET", "/sso/session", &cookie, ""))?;
                    if status != 200 {
                        return Err(io::Error::other(answer));
                    }
                }
                Ok(())
            })
        });
        let visits: Vec<_> = visits.collect();
        visits
            .into_iter()
            .try_for_each(|visit| visit.join().unwrap_or_else(|_| Err(io::Error::other("a visit panicked"))))
    })
}
