//! The cost of many sessions: `cargo bench --bench scale -- [SESSIONS [SECONDS]]`.
//!
//! One Redis is filled by the library: three sessions a person, each person in ten groups of 200, one person in a hundred
//! known by another provider. Two processes share it: a reviewer (this program once more, with the library's
//! `SessionAdministration`) and a real broker. The reviewer looks for sessions, ends ten persons, and then everybody;
//! meanwhile pages are asked of the broker at a fixed pace, each counted from when it was due. The order
//! against everybody is in force when the broker refused the last of the sampled sessions; the walk behind it takes longer.

#[path = "common/processes.rs"]
mod processes;
#[path = "common/resident.rs"]
mod resident;
#[path = "common/reviewer.rs"]
mod reviewer;
#[path = "common/sessions.rs"]
mod sessions;
#[path = "common/wire.rs"]
mod wire;

use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use counterfoil::session::Sessions;
use counterfoil::session::key::SessionKey;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Runtime;

use crate::processes::{Folder, Program, free_port};
use crate::resident::resident_bytes;
use crate::reviewer::{Reviewer, milliseconds, review};
use crate::sessions::{client, configuration, cookie, establish, identity, login, open, random_key, settings};
use crate::wire::{Browser, Redis};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const SESSIONS_A_PERSON: usize = 3;
const GROUPS: usize = 200;
const GROUPS_A_PERSON: usize = 10;
/// One person in so many is known by `PARTNER`, not by the provider of the others.
const PEOPLE_A_PARTNER: usize = 100;
const PARTNER: &str = "partner";
const PARTNER_ISSUER: &str = "https://idp.example.net";
/// Logins at the same time.
const AT_A_TIME: usize = 256;
/// Logins between two looks at how far it is.
const BATCH: usize = 10_000;
/// Browsers that wait for everybody's end at the same time.
const BROWSERS: usize = 8;
/// Sessions whose pages are asked for.
const SAMPLE: usize = 200;
/// Persons that are ended one by one.
const ENDED: usize = 10;
/// Time between two pages that are asked for.
const PACE: Duration = Duration::from_millis(2);
/// Longest wait for everybody to be refused.
const PATIENCE: Duration = Duration::from_mins(1);
/// One question is asked so many times.
const OFTEN_ENOUGH: usize = 9;

fn main() -> Result<(), Failed> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [mode, file] = arguments.as_slice()
        && mode == "reviewer"
    {
        return review(&std::fs::read_to_string(file)?);
    }
    let mut numbers = arguments.iter().map(|number| number.parse::<u64>());
    let sessions = usize::try_from(numbers.next().unwrap_or(Ok(1_000_000))?)?;
    let seconds = numbers.next().unwrap_or(Ok(10))?;
    measure(sessions, Duration::from_secs(seconds))
}

fn measure(number: usize, idle: Duration) -> Result<(), Failed> {
    let runtime = Runtime::new()?;
    let redis_port = free_port();
    let redis_program = Program::redis(redis_port, &[]);
    let mut redis = Redis::connect(redis_port)?;
    let mut house = House::open(&runtime, &format!("redis://127.0.0.1:{redis_port}/0"))?;
    let mut memory = String::new();
    let mut note_memory = |when: &str, redis: &mut Redis, house: &House| -> Result<(), Failed> {
        let broker = resident_bytes(house.broker.0.id())?;
        let reviewer = resident_bytes(house.reviewer.id())?;
        let (used, server) = (redis.info("used_memory")?, resident_bytes(redis_program.0.id())?);
        let [broker, reviewer, used, server] = [broker, reviewer, used, server].map(|bytes| bytes / 1_000_000);
        Ok(writeln!(memory, "| {when} | {broker} MB | {reviewer} MB | {used} MB | {server} MB |")?)
    };
    note_memory("empty", &mut redis, &house)?;

    let people = number.div_ceil(SESSIONS_A_PERSON);
    let begun = Instant::now();
    let sample = runtime.block_on(fill(&house.sessions, number))?;
    runtime.block_on(fill_with(&house.sessions, to_be_ended(people)))?;
    eprintln!("\r{number} sessions in {:.0} s", begun.elapsed().as_secs_f64());
    note_memory("filled", &mut redis, &house)?;

    let pages: Vec<_> = sample.iter().map(page).collect();
    let mut latencies = String::new();
    // Each of them once, so that the broker has them at hand.
    house.refusals_of(&pages)?.map_or(Ok(()), |status| Err(format!("a page was answered with {status}")))?;
    let ((), waits) = during(house.port, &pages, || std::thread::sleep(idle))?;
    note_latency(&mut latencies, "nothing else", waits);
    println!(
        "| of {number} sessions | found | time | [lowest..highest] | target |\n| --- | ---: | ---: | ---: | ---: |"
    );
    let (asked, waits) = during(house.port, &pages, || ask_everything(&mut house.reviewer, people))?;
    asked?;
    note_latency(&mut latencies, "the list and its filters", waits);
    note_memory("after the filters", &mut redis, &house)?;
    let (ended, waits) = during(house.port, &pages, || end_persons(&mut house.reviewer, people))?;
    ended?;
    note_latency(&mut latencies, "ending persons", waits);

    let ordered = Instant::now();
    house.reviewer.order("everybody", "")?;
    let (last_given, refused) = house.wait_for_refusals(&pages)?;
    let (last_given, in_force) = (last_given.saturating_duration_since(ordered), refused - ordered);
    // Whoever signs in from now on is not meant, and sees what the walk costs.
    let newcomers = runtime.block_on(establish(&house.sessions, people + ENDED..people + ENDED + SAMPLE, 5));
    let pages: Vec<_> = newcomers.iter().map(page).collect();
    let (walk, waits) = during(house.port, &pages, || house.reviewer.answer())?;
    let (ended, took) = walk?;
    note_latency(&mut latencies, "the walk behind the end of everybody", waits);
    // Each connection asks for a part of the sample in turn: some of the time between the two is that of one turn.
    println!("| everybody ended: last page given | {SAMPLE} sampled | {} | | |", milliseconds(last_given));
    println!("| everybody ended: last one refused | {SAMPLE} sampled | {} | | <= 500 ms |", milliseconds(in_force));
    println!("| everybody ended: the walk | {ended} | {} | | |", milliseconds(took));
    let (left, _) = house.reviewer.ask("count", "")?;
    if left != newcomers.len() {
        return Err(format!("{left} sessions are left, and {} people signed in since", newcomers.len()).into());
    }
    note_memory("after the end of everybody", &mut redis, &house)?;

    println!("\n| pages during | number | p50 | p99 | max |\n| --- | ---: | ---: | ---: | ---: |\n{latencies}");
    println!("| memory | broker | reviewer | Redis, used | Redis, resident |");
    println!("| --- | ---: | ---: | ---: | ---: |\n{memory}");
    Ok(())
}

/// A person of that number, and the groups they are in.
fn login_of(person: usize) -> counterfoil::session::establish::NewSession {
    let mut login = login(person, 0);
    login.identity.groups = (0..GROUPS_A_PERSON).map(|group| group_name(person + group * 17)).collect();
    if person.is_multiple_of(PEOPLE_A_PARTNER) {
        PARTNER.clone_into(&mut login.identity.idp);
        PARTNER_ISSUER.clone_into(&mut login.identity.issuer);
    }
    login
}

fn group_name(number: usize) -> String {
    format!("backoffice-department-{:03}", number % GROUPS)
}

/// The persons, three times each, that are ended one by one.
fn to_be_ended(people: usize) -> Vec<usize> {
    (people..people + ENDED).flat_map(|person| [person; SESSIONS_A_PERSON]).collect()
}

/// Signs these persons in.
async fn fill_with(sessions: &Sessions, people: Vec<usize>) -> Result<Vec<SessionKey>, Failed> {
    // Each `establish` is a task of its own: all cores are busy with them.
    let made = stream::iter(people).map(|person| sessions.establish(login_of(person))).buffered(AT_A_TIME);
    Ok(made.try_collect().await?)
}

/// Makes so many sessions, and keeps the keys of a few.
async fn fill(sessions: &Sessions, number: usize) -> Result<Vec<SessionKey>, Failed> {
    let batches: Vec<Range<usize>> = (0..number).step_by(BATCH).map(|first| first..number.min(first + BATCH)).collect();
    let every = number.div_ceil(SAMPLE).max(1);
    let mut sample = Vec::with_capacity(SAMPLE);
    for batch in batches {
        let made = fill_with(sessions, batch.clone().map(|session| session / SESSIONS_A_PERSON).collect()).await?;
        sample.extend(batch.clone().zip(made).filter(|(session, _)| session.is_multiple_of(every)).map(|(_, key)| key));
        eprint!("\r{} of {number} sessions", batch.end);
    }
    Ok(sample)
}

/// The request for a page, in a session.
fn page(key: &SessionKey) -> Vec<u8> {
    Browser::request("GET", "/", &format!("Cookie: {}", cookie(&key.expose_cookie_value())), "")
}

/// A broker with a back office behind it, a reviewer beside it, and the way to make sessions.
struct House {
    sessions: Sessions,
    reviewer: Reviewer,
    port: u16,
    broker: Program,
    _folder: Folder,
}

impl House {
    fn open(runtime: &Runtime, redis: &str) -> Result<Self, Failed> {
        let office = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let upstream = office.local_addr()?;
        let more = format!(
            "[[route]]\npath = \"/\"\nupstream = \"http://{upstream}\"\non_anonymous = \"401\"\n\
             [idp.{PARTNER}]\nkind = \"oauth2\"\nissuer = \"{PARTNER_ISSUER}\"\nclient_id = \"backoffice\"\n\
             authorization_endpoint = \"{PARTNER_ISSUER}/authorize\"\ntoken_endpoint = \"{PARTNER_ISSUER}/token\"\n\
             profile_endpoint = \"{PARTNER_ISSUER}/me\"\nclient_secret = \"never sent anywhere\"\nprofile.subject = \"sub\"\n"
        );
        let pages = axum::Router::new().fallback(async || "ok");
        runtime.spawn(counterfoil::app::server::serve(office, pages, std::future::pending(), Duration::ZERO));
        let configuration = configuration(redis, &random_key(), "", &more);
        let (folder, port) = (Folder::new(), free_port());
        let broker = Program::broker(&folder, port, &configuration);
        let file = folder.path().join("reviewer.toml");
        std::fs::write(&file, &configuration)?;
        let _entered = runtime.enter();
        let sessions = open(&settings(configuration));
        Ok(Self { sessions, reviewer: Reviewer::start(&file)?, port, broker, _folder: folder })
    }

    /// Asks for each page once; the first answer that was none.
    fn refusals_of(&self, pages: &[Vec<u8>]) -> io::Result<Option<u16>> {
        let mut browser = Browser::connect(self.port)?;
        for page in pages {
            let (status, _) = browser.ask(page)?;
            if status != 200 {
                return Ok(Some(status));
            }
        }
        Ok(None)
    }

    /// Asks for all pages again and again until each was refused; when the last page was given, and the last one refused.
    fn wait_for_refusals(&self, pages: &[Vec<u8>]) -> Result<(Instant, Instant), Failed> {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let parts = pages.chunks(pages.len().div_ceil(BROWSERS).max(1));
            let browsers: Vec<_> = parts.map(|pages| scope.spawn(|| wait_for_refusals(self.port, pages))).collect();
            browsers.into_iter().try_fold((begun, begun), |(given, refused), browser| {
                let (last_given, last_refused) = browser.join().map_err(|_| "a browser panicked")??;
                Ok((given.max(last_given), refused.max(last_refused)))
            })
        })
    }
}

/// Asks for pages in turn, on one connection, until each was refused.
fn wait_for_refusals(port: u16, pages: &[Vec<u8>]) -> Result<(Instant, Instant), Failed> {
    let (mut browser, begun) = (Browser::connect(port)?, Instant::now());
    let (mut pages, mut last_given): (Vec<_>, _) = (pages.iter().collect(), begun);
    while !pages.is_empty() {
        let mut not_refused = Vec::with_capacity(pages.len());
        for page in pages {
            let (status, _) = browser.ask(page)?;
            if status == 200 {
                last_given = Instant::now();
            }
            if status != 401 {
                not_refused.push(page);
            }
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} sessions are not refused", not_refused.len()).into());
        }
        pages = not_refused;
    }
    Ok((last_given, Instant::now()))
}

/// Does something while pages are asked for at a fixed pace; how long each took from when it was due.
fn during<T>(port: u16, pages: &[Vec<u8>], act: impl FnOnce() -> T) -> Result<(T, Vec<Duration>), Failed> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let prober = scope.spawn(|| -> Result<Vec<Duration>, Failed> {
            let (mut browser, mut waits, mut due) = (Browser::connect(port)?, Vec::new(), Instant::now());
            for page in pages.iter().cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                due += PACE;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let (status, answer) = browser.ask(page)?;
                if status != 200 {
                    return Err(format!("a page was answered with {status}: {answer}").into());
                }
                waits.push(due.elapsed());
            }
            Ok(waits)
        });
        let done = act();
        over.store(true, Ordering::Relaxed);
        Ok((done, prober.join().map_err(|_| "the prober panicked")??))
    })
}

fn note_latency(rows: &mut String, during: &str, mut waits: Vec<Duration>) {
    waits.sort_unstable();
    let percentile = |percent: usize| {
        let last = waits.len().checked_sub(1);
        last.map_or_else(|| "-".to_owned(), |last| milliseconds(waits[(last * percent).div_ceil(100)]))
    };
    let (p50, p99, most) = (percentile(50), percentile(99), percentile(100));
    // Writing to a text cannot fail.
    let _ = writeln!(rows, "| {during} | {} | {p50} | {p99} | {most} |", waits.len());
}

/// Looks for sessions in every way there is.
fn ask_everything(reviewer: &mut Reviewer, people: usize) -> Result<(), Failed> {
    // Spread over all there are: who signed in last is found first.
    let persons = || (1..=OFTEN_ENOUGH).map(move |part| people * part / (OFTEN_ENOUGH + 1));
    let everybody = || std::iter::repeat_n(String::new(), OFTEN_ENOUGH);
    let name = |person| identity(person, 0).preferred_username.unwrap_or_default();
    let email = |person| identity(person, 0).email.unwrap_or_default();
    let address = |person| client(person).address.unwrap_or_default();
    reviewer.row("the first page", "page", everybody(), "")?;
    reviewer.row("a page by user name", "user", persons().map(name), "<= 50 ms")?;
    reviewer.row("a page by e-mail", "user", persons().map(email), "<= 50 ms")?;
    reviewer.row("a page by group", "group", persons().map(group_name), "<= 500 ms")?;
    reviewer.row("a page by provider, 1 % of the people", "idp", everybody().map(|_| PARTNER.to_owned()), "")?;
    reviewer.row("a page by address", "ip", persons().map(address), "")?;
    reviewer.row("count of all", "count", everybody(), "")?;
    reviewer.row("count of a group", "count-group", persons().map(group_name), "")
}

/// Ends persons one by one.
fn end_persons(reviewer: &mut Reviewer, people: usize) -> Result<(), Failed> {
    let subjects = (people..people + ENDED).map(|person| identity(person, 0).subject);
    reviewer.row("one person ended", "person", subjects, "<= 20 ms")
}
