//! How long a broker does without Redis after its connections fell silent: `cargo bench --bench recovery -- [TRIALS]`.
//!
//! A relay between the broker and Redis swallows what is sent on the connections of a moment, closes none of them, and
//! carries new ones. Measured from that moment, for each setting: while one browser asks for a guarded page again and
//! again, the time to the first page of eight in a row; while nobody asks, the time until every connection that was lost
//! has a successor, after which eight pages must come at once.

#[path = "common/processes.rs"]
mod processes;
#[path = "common/sessions.rs"]
mod sessions;
#[expect(dead_code, unreachable_pub, reason = "it is the tests', which use more of it")]
#[path = "../tests/broker/support/silent_relay.rs"]
mod silent_relay;
#[expect(dead_code, reason = "nothing is asked of Redis itself here")]
#[path = "common/wire.rs"]
mod wire;

use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::processes::{Folder, Program, free_port};
use crate::sessions::{configuration, cookie, establish, now, open, random_key, settings};
use crate::silent_relay::SilentRelay;
use crate::wire::Browser;

type Failed = Box<dyn std::error::Error>;

/// Pages in a row after which everything works again: more than there are connections to take turns.
const IN_A_ROW: usize = 8;
/// Longest wait for that.
const PATIENCE: Duration = Duration::from_mins(1);

fn main() -> Result<(), Failed> {
    let arguments = std::env::args().skip(1).find(|argument| argument != "--bench");
    let trials = arguments.map_or(Ok(20), |argument| argument.parse::<usize>())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let port = free_port();
    let _redis = Program::redis(port, &[]);
    println!("| `store.timeout` | near cache | requests | trials | p50 | max | 503 in a trial, at most |");
    println!("| --- | --- | --- | ---: | ---: | ---: | ---: |");
    for timeout in ["250ms", "1s", "10s"] {
        for near_cache_entries in [100_000, 0] {
            for keep_coming in [true, false] {
                let near = if near_cache_entries == 0 { "off" } else { "on" };
                let requests = if keep_coming { "keep coming" } else { "none" };
                let mut seen = Vec::new();
                let mut house = House::open(&runtime, port, timeout, near_cache_entries)?;
                for _ in 0..trials {
                    seen.push(house.trial(keep_coming)?);
                }
                seen.sort_unstable();
                let milliseconds = |place: usize| format!("{} ms", seen[place].0.as_millis());
                let (median, longest) = (milliseconds(seen.len() / 2), milliseconds(seen.len() - 1));
                let failed = seen.iter().map(|(_, failed)| failed).max().unwrap_or(&0);
                println!("| `{timeout}` | {near} | {requests} | {trials} | {median} | {longest} | {failed} |");
            }
        }
    }
    Ok(())
}

/// A broker that reaches Redis through a relay, and somebody who is signed in.
struct House {
    relay: SilentRelay,
    browser: Browser,
    page: Vec<u8>,
    _broker: Program,
    _folder: Folder,
}

impl House {
    fn open(runtime: &Runtime, redis: u16, timeout: &str, near_cache_entries: u32) -> Result<Self, Failed> {
        let relay = runtime.block_on(SilentRelay::in_front_of(redis));
        let office = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let upstream = office.local_addr()?;
        let pages = axum::Router::new().fallback(async || "ok");
        runtime.spawn(counterfoil::app::server::serve(office, pages, std::future::pending(), Duration::ZERO));
        let more = format!("[[route]]\npath = \"/\"\nupstream = \"http://{upstream}\"\non_anonymous = \"401\"\n");
        let store = format!("timeout = \"{timeout}\"\nnear_cache_entries = {near_cache_entries}");
        let (key, folder, port) = (random_key(), Folder::new(), free_port());
        let url = |port: u16| format!("redis://127.0.0.1:{port}/0");
        let broker = Program::broker(&folder, port, &configuration(&url(relay.port()), &key, &store, &more));
        let settings = settings(configuration(&url(redis), &key, &store, &more));
        let keys = {
            let _entered = runtime.enter();
            let sessions = open(&settings);
            // A person of its own for each setting.
            let person = usize::try_from(now().unix_timestamp_nanos() & 0xffff_ffff)?;
            runtime.block_on(establish(&sessions, person..person + 1, 5))
        };
        let [key] = keys.as_slice() else { return Err("no session was made".into()) };
        let page = Browser::request("GET", "/", &format!("Cookie: {}", cookie(&key.expose_cookie_value())), "");
        let browser = Browser::connect(port)?;
        Ok(Self { relay, browser, page, _broker: broker, _folder: folder })
    }

    /// The time to recovery, and how many requests were answered with 503 until then.
    fn trial(&mut self, keep_coming: bool) -> Result<(Duration, usize), Failed> {
        self.row_of_pages()?;
        let made = self.relay.connections();
        let lost = self.relay.lose_established();
        let begun = Instant::now();
        if !keep_coming {
            while self.relay.connections() < made + lost {
                if begun.elapsed() > PATIENCE {
                    return Err("the connections were never replaced".into());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let replaced = begun.elapsed();
        let (served, failed) = self.row_of_pages()?;
        Ok((if keep_coming { served - begun } else { replaced }, failed))
    }

    /// When the first of eight pages in a row came, and how many requests had failed until then.
    fn row_of_pages(&mut self) -> io::Result<(Instant, usize)> {
        let (begun, mut first, mut served, mut failed) = (Instant::now(), Instant::now(), 0, 0);
        while served < IN_A_ROW {
            let (status, answer) = self.browser.ask(&self.page)?;
            match status {
                200 => {
                    served += 1;
                    if served == 1 {
                        first = Instant::now();
                    }
                }
                503 if begun.elapsed() < PATIENCE => (served, failed) = (0, failed + 1),
                _ => return Err(io::Error::other(answer)),
            }
        }
        Ok((first, failed))
    }
}
