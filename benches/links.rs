//! The cost to Redis of telling near caches what changes: `cargo bench --bench links -- [SECONDS [ROUNDS [LINKS]]]`.
//!
//! So many links, plain RESP3 connections of this process, send what the feed of `counterfoil-session-redis` sends:
//! `ROLE` ten times a second each, and reads of a record, its expiry, its note and its tombstone. Every record is read by
//! one link, and read again by it after each of its changes. Sixteen more connections change records of 1.5 kB, one `SET`
//! at a time each, at a fixed pace. Redis has one core to itself, this process the other. Measured is the CPU time of the
//! Redis process:
//!
//! | column | on the links |
//! | --- | --- |
//! | none | no tracking, no reads, no heartbeats: there are no links |
//! | `BCAST` | `CLIENT TRACKING ON BCAST PREFIX cf-`: each link hears of each change |
//! | `OPTIN` | `CLIENT TRACKING ON OPTIN`, and `CLIENT CACHING YES` before each read: the one reader hears, as it is now |
//!
//! Beyond what its core can do, `BCAST` names several records in one push. The three take turns, each on a fresh server (`REDIS_SERVER` names its program).

#[path = "common/cpu.rs"]
mod cpu;
#[path = "common/processes.rs"]
#[expect(dead_code, reason = "other measurements need more of it")]
mod processes;

use std::cell::Cell;
use std::io;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use counterfoil::clock::{Clock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use crate::cpu::cpu_of_process;
use crate::processes::{Program, free_port};

type Failed = Box<dyn std::error::Error>;

const LINKS: [usize; 3] = [10, 50, 100];
const CHANGES_A_SECOND: [u32; 2] = [300, 3_000];
const RECORDS: usize = 10_000;
const RECORD_BYTES: usize = 1_500;
const WRITERS: usize = 16;
/// Interval between two proofs of life of a link.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Time between the last preparation and the measurement.
const SETTLING: Duration = Duration::from_secs(1);
const CORE_OF_REDIS: &str = "0";
const CORE_OF_LINKS: &str = "1";

/// The way in which links are told of changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tracking {
    None,
    Broadcast,
    OptIn,
}

const WAYS: [Tracking; 3] = [Tracking::None, Tracking::Broadcast, Tracking::OptIn];

/// What one measurement came to, per second.
#[derive(Clone, Copy, Default)]
struct Measured {
    /// Part of a core that Redis used.
    core: f64,
    changes: f64,
    pushes: f64,
}

fn main() -> Result<(), Failed> {
    let mut numbers = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let seconds = numbers.next().map_or(Ok(5), |number| number.parse())?;
    let rounds = numbers.next().map_or(Ok(3), |number| number.parse())?;
    let only = numbers.next().map(|number| number.parse::<usize>()).transpose()?;
    pin(std::process::id(), CORE_OF_LINKS)?;
    println!(
        "| links | changes a second | made at least | none | `BCAST` | `OPTIN` | a change beyond none, `BCAST` / `OPTIN` | pushes a second, `BCAST` | `OPTIN` |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for changes in CHANGES_A_SECOND {
        for links in only.map_or(LINKS.to_vec(), |links| vec![links]) {
            let mut measured = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                let mut round = [Measured::default(); WAYS.len()];
                for (way, slot) in WAYS.into_iter().zip(&mut round) {
                    *slot = measure(way, links, changes, Duration::from_secs(seconds))?;
                }
                measured.push(round);
            }
            row(links, changes, &measured);
        }
    }
    Ok(())
}

fn row(links: usize, wanted: u32, measured: &[[Measured; WAYS.len()]]) {
    let over = |value: &dyn Fn(&[Measured; WAYS.len()]) -> f64| {
        let mut values: Vec<_> = measured.iter().map(value).collect();
        values.sort_unstable_by(f64::total_cmp);
        [values[0], values[values.len() / 2], values[values.len() - 1]]
    };
    let core = |way: usize| {
        let [lowest, middle, highest] = over(&|round| round[way].core * 100.0);
        format!("{middle:.1} % [{lowest:.1}..{highest:.1}]")
    };
    let [lowest, middle, highest] = over(&|[none, broadcast, opt_in]| {
        // Of as many changes as there were: with so much to read the other core may not keep the pace.
        let part = |of: &Measured| (of.core / of.changes - none.core / none.changes).max(0.0);
        part(broadcast) / part(opt_in)
    });
    let pushes = |way: usize| over(&|round| round[way].pushes)[1];
    let made = over(&|round| round.iter().map(|way| way.changes).fold(f64::INFINITY, f64::min))[0];
    println!(
        "| {links} | {wanted} | {made:.0} | {} | {} | {} | {middle:.1} [{lowest:.1}..{highest:.1}] | {:.0} | {:.0} |",
        core(0),
        core(1),
        core(2),
        pushes(1),
        pushes(2),
    );
}

/// Binds all threads of a process to a core.
fn pin(process: u32, core: &str) -> Result<(), Failed> {
    let done = Command::new("taskset").args(["-acp", core, &process.to_string()]).output()?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into()) }
}

fn measure(way: Tracking, links: usize, changes: u32, time: Duration) -> Result<Measured, Failed> {
    let port = free_port();
    let redis = Program::redis(port, &[]);
    pin(redis.0.id(), CORE_OF_REDIS)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let counted = Rc::new(Counted::default());
        fill(port).await?;
        let mut readers = Vec::with_capacity(links);
        if way != Tracking::None {
            for number in 0..links {
                let (reader, told) = unbounded_channel();
                let link = Link::open(port, way, number, links).await?;
                let first = Instant::now() + HEARTBEAT * u32::try_from(number)? / u32::try_from(links)?;
                spawn(link.run(first, told, counted.clone()));
                readers.push(reader);
            }
        }
        for number in 0..WRITERS {
            let stream = connect(port).await?;
            spawn(write(stream, number, changes, readers.clone(), counted.clone()));
        }
        sleep(SETTLING).await;
        let (begun, before, cpu) =
            (Instant::now(), (counted.changes.get(), counted.pushes.get()), cpu_of_process(redis.0.id())?);
        sleep(time).await;
        let (took, spent) = (begun.elapsed().as_secs_f64(), cpu_of_process(redis.0.id())?.saturating_sub(cpu));
        let rate = |now: u32, before: u32| f64::from(now - before) / took;
        Ok(Measured {
            core: spent.as_secs_f64() / took,
            changes: rate(counted.changes.get(), before.0),
            pushes: rate(counted.pushes.get(), before.1),
        })
    })
}

/// Runs something that ends with the measurement, and may not end before.
fn spawn(task: impl Future<Output = Result<std::convert::Infallible, Failed>> + 'static) {
    tokio::task::spawn_local(async move {
        let Err(error) = task.await;
        eprintln!("a connection ended: {error}");
        std::process::exit(1);
    });
}

/// What happened so far.
#[derive(Default)]
struct Counted {
    changes: Cell<u32>,
    pushes: Cell<u32>,
}

fn add(counter: &Cell<u32>, number: usize) {
    counter.set(counter.get().wrapping_add(u32::try_from(number).unwrap_or(u32::MAX)));
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn record(number: usize) -> String {
    // As long as a handle.
    format!("cf-{number:019}")
}

fn command(outgoing: &mut Vec<u8>, words: &[&str]) {
    outgoing.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        outgoing.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
}

/// Sends commands and reads until all of them were answered.
async fn exchange(stream: &mut TcpStream, mut outgoing: Vec<u8>) -> Result<(), Failed> {
    command(&mut outgoing, &["ECHO", "that was all"]);
    stream.write_all(&outgoing).await?;
    let mut received = Vec::new();
    while !received.ends_with(b"that was all\r\n") {
        if stream.read_buf(&mut received).await? == 0 {
            return Err("Redis closed a connection".into());
        }
    }
    match received.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"-")) {
        Some(error) => Err(String::from_utf8_lossy(error).into()),
        None => Ok(()),
    }
}

/// A change of a record.
fn change(outgoing: &mut Vec<u8>, number: usize, value: &str) {
    let expires = (SystemClock.now().unix_timestamp() + 3_600).to_string();
    command(outgoing, &["SET", &record(number), value, "EXAT", &expires]);
}

fn value() -> String {
    "x".repeat(RECORD_BYTES)
}

async fn fill(port: u16) -> Result<(), Failed> {
    let (mut stream, mut outgoing, value) = (connect(port).await?, Vec::new(), value());
    for number in 0..RECORDS {
        change(&mut outgoing, number, &value);
    }
    exchange(&mut stream, outgoing).await
}

/// Changes every sixteenth record in turn, and tells its reader.
async fn write(
    mut stream: TcpStream,
    first: usize,
    changes: u32,
    readers: Vec<UnboundedSender<usize>>,
    counted: Rc<Counted>,
) -> Result<std::convert::Infallible, Failed> {
    let between = Duration::from_secs(1) * u32::try_from(WRITERS)? / changes;
    let (value, mut outgoing, mut answer) = (value(), Vec::new(), [0; 5]);
    let mut due = Instant::now() + between * u32::try_from(first)? / u32::try_from(WRITERS)?;
    let mut numbers = (first..RECORDS).step_by(WRITERS).cycle();
    loop {
        let number = numbers.next().ok_or("no records")?;
        sleep_until(due).await;
        due += between;
        outgoing.clear();
        change(&mut outgoing, number, &value);
        stream.write_all(&outgoing).await?;
        stream.read_exact(&mut answer).await?;
        if &answer != b"+OK\r\n" {
            return Err(String::from_utf8_lossy(&answer).into());
        }
        add(&counted.changes, 1);
        if !readers.is_empty() {
            readers[number % readers.len()].send(number)?;
        }
    }
}

/// One connection that is told of changes, and reads records.
struct Link {
    stream: TcpStream,
    way: Tracking,
}

impl Link {
    /// Connects, and reads its records for the first time.
    async fn open(port: u16, way: Tracking, first: usize, links: usize) -> Result<Self, Failed> {
        let mut link = Self { stream: connect(port).await?, way };
        let mut outgoing = Vec::new();
        command(&mut outgoing, &["HELLO", "3"]);
        match way {
            Tracking::None => {}
            Tracking::Broadcast => command(&mut outgoing, &["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "cf-"]),
            Tracking::OptIn => command(&mut outgoing, &["CLIENT", "TRACKING", "ON", "OPTIN"]),
        }
        for number in (first..RECORDS).step_by(links) {
            link.read(&mut outgoing, number);
        }
        exchange(&mut link.stream, outgoing).await?;
        Ok(link)
    }

    /// What the feed sends for a record.
    fn read(&self, outgoing: &mut Vec<u8>, number: usize) {
        let key = record(number);
        if self.way == Tracking::OptIn {
            command(outgoing, &["CLIENT", "CACHING", "YES"]);
        }
        command(outgoing, &["GETRANGE", &key, "0", "4194303"]);
        command(outgoing, &["PTTL", &key]);
        command(outgoing, &["GETRANGE", &format!("seen:{key}"), "0", "1048575"]);
        command(outgoing, &["GETRANGE", &format!("tombstone:{key}"), "0", "0"]);
    }

    async fn run(
        mut self,
        first: Instant,
        mut told: UnboundedReceiver<usize>,
        counted: Rc<Counted>,
    ) -> Result<std::convert::Infallible, Failed> {
        let mut heartbeat = interval_at(first, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut received, mut outgoing) = (Vec::with_capacity(64 * 1024), Vec::new());
        loop {
            tokio::select! {
                read = self.stream.read_buf(&mut received) => {
                    if read? == 0 {
                        return Err("Redis closed a link".into());
                    }
                    // Nothing but a push has this byte; records are of another.
                    add(&counted.pushes, received.split(|byte| *byte == b'>').count() - 1);
                    received.clear();
                }
                _ = heartbeat.tick() => command(&mut outgoing, &["ROLE"]),
                Some(number) = told.recv() => {
                    self.read(&mut outgoing, number);
                    while let Ok(number) = told.try_recv() {
                        self.read(&mut outgoing, number);
                    }
                }
            }
            if !outgoing.is_empty() {
                self.stream.write_all(&outgoing).await?;
                outgoing.clear();
            }
        }
    }
}
