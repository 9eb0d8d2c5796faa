//! How long a broker does without Redis after its connections fell silent: `cargo bench --bench recovery -- [TRIALS]`.
//!
//! A relay between the broker and Redis swallows what is sent on the connections of a moment, closes none of them, and
//! carries new ones. Measured from that moment, for each setting: while one browser asks for a guarded page again and
//! again, the end of the last answer that was no page and the longest wait for any; while nobody asks, the time until every
//! connection that was lost has a successor, after which pages must come at once.

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

/// How long is asked after the loss: longer than anything takes that the documents promise.
const WINDOW: Duration = Duration::from_secs(4);
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(5);
/// Pages in a row after which everything works: more than there are connections to take turns.
const IN_A_ROW: usize = 8;
/// Longest wait for that.
const PATIENCE: Duration = Duration::from_mins(1);

fn main() -> Result<(), Failed> {
    let arguments = std::env::args().skip(1).find(|argument| argument != "--bench");
    let trials = arguments.map_or(Ok(20), |argument| argument.parse::<usize>())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (port, key) = (free_port(), random_key());
    let _redis = Program::redis(port, &[]);
    println!("| `store.timeout` | near cache | requests | trials | all well after | longest wait | 503 |");
    println!("| --- | --- | --- | ---: | ---: | ---: | ---: |");
    for timeout in ["250ms", "1s", "10s"] {
        for near_cache_entries in [100_000, 0] {
            for keep_coming in [true, false] {
                let mut house = House::open(&runtime, port, &key, timeout, near_cache_entries)?;
                let mut worst = Seen::default();
                for _ in 0..trials {
                    worst = worst.or_worse(&house.trial(keep_coming)?);
                }
                let near = if near_cache_entries == 0 { "off" } else { "on" };
                let requests = if keep_coming { "keep coming" } else { "none" };
                let [well_after, wait] = [worst.well_after, worst.longest_wait].map(|it| it.as_millis());
                let failed = worst.failed;
                println!("| `{timeout}` | {near} | {requests} | {trials} | {well_after} ms | {wait} ms | {failed} |");
            }
        }
    }
    Ok(())
}

/// What was seen of one loss, or at the worst of several.
#[derive(Default)]
struct Seen {
    well_after: Duration,
    longest_wait: Duration,
    failed: usize,
}

impl Seen {
    fn or_worse(self, other: &Self) -> Self {
        Self {
            well_after: self.well_after.max(other.well_after),
            longest_wait: self.longest_wait.max(other.longest_wait),
            failed: self.failed.max(other.failed),
        }
    }
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
    fn open(runtime: &Runtime, redis: u16, key: &str, timeout: &str, near_cache_entries: u32) -> Result<Self, Failed> {
        let relay = runtime.block_on(SilentRelay::in_front_of(redis));
        let office = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let upstream = office.local_addr()?;
        let pages = axum::Router::new().fallback(async || "ok");
        runtime.spawn(counterfoil::app::server::serve(office, pages, std::future::pending(), Duration::ZERO));
        let more = format!("[[route]]\npath = \"/\"\nupstream = \"http://{upstream}\"\non_anonymous = \"401\"\n");
        let store = format!("timeout = \"{timeout}\"\nnear_cache_entries = {near_cache_entries}");
        let (folder, port) = (Folder::new(), free_port());
        let url = |port: u16| format!("redis://127.0.0.1:{port}/0");
        let broker = Program::broker(&folder, port, &configuration(&url(relay.port()), key, &store, &more));
        let settings = settings(configuration(&url(redis), key, &store, &more));
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

    /// Loses every connection to Redis.
    fn trial(&mut self, keep_coming: bool) -> Result<Seen, Failed> {
        self.row_of_pages()?;
        let made = self.relay.connections();
        let lost = self.relay.lose_established();
        let (begun, mut seen) = (Instant::now(), Seen::default());
        if keep_coming {
            while begun.elapsed() < WINDOW {
                let asked = Instant::now();
                let is_page = self.is_page()?;
                seen.longest_wait = seen.longest_wait.max(asked.elapsed());
                if !is_page {
                    (seen.failed, seen.well_after) = (seen.failed + 1, begun.elapsed());
                }
                std::thread::sleep(PAUSE);
            }
            seen.well_after = seen.well_after.max(seen.longest_wait);
        } else {
            while self.relay.connections() < made + lost {
                if begun.elapsed() > PATIENCE {
                    return Err("the connections were never replaced".into());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            seen.well_after = begun.elapsed();
            let asked = Instant::now();
            seen.failed = self.row_of_pages()?;
            seen.longest_wait = asked.elapsed();
        }
        Ok(seen)
    }

    fn is_page(&mut self) -> io::Result<bool> {
        match self.browser.ask(&self.page)? {
            (200, _) => Ok(true),
            (503, _) => Ok(false),
            (_, answer) => Err(io::Error::other(answer)),
        }
    }

    /// Asks until pages come in a row; how many requests had failed until then.
    fn row_of_pages(&mut self) -> Result<usize, Failed> {
        let (begun, mut served, mut failed) = (Instant::now(), 0, 0);
        while served < IN_A_ROW {
            if self.is_page()? {
                served += 1;
            } else {
                (served, failed) = (0, failed + 1);
            }
            if begun.elapsed() > PATIENCE {
                return Err("Redis is never asked again".into());
            }
        }
        Ok(failed)
    }
}
