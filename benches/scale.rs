//! The cost of many sessions: `cargo bench --bench scale -- [SESSIONS [SECONDS]]`.
//!
//! One Redis is filled by the library: three sessions a person, each person in ten groups of 200, one person in a hundred
//! known by another provider. Two processes share it: a reviewer (this program once more, with the library's
//! `SessionAdministration`) and a real broker. The reviewer looks for sessions, ends ten persons, and then everybody;
//! meanwhile pages are asked of the broker at a fixed pace, each counted from when it was due. In force is the order
//! against everybody when the last of the sampled sessions was refused by the broker; the walk behind it takes longer.

#[path = "common/processes.rs"]
mod processes;
#[path = "common/resident.rs"]
mod resident;
#[path = "common/sessions.rs"]
mod sessions;
#[path = "common/wire.rs"]
mod wire;

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write as _};
use std::ops::Range;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use counterfoil::session::key::SessionKey;
use counterfoil::session::revocation::{Order, Selection};
use counterfoil::session::selection::{Filter, PersonFilter, parse_network};
use counterfoil::session::{SessionAdministration, Sessions};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Runtime;

use crate::processes::{Folder, Program, free_port};
use crate::resident::resident_bytes;
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
/// Sessions whose pages are asked for.
const SAMPLE: usize = 200;
/// Sessions on a page of the list.
const PAGE: usize = 50;
/// Persons that are ended one by one.
const ENDED: usize = 10;
/// Time between two pages that are asked for.
const PACE: Duration = Duration::from_millis(2);
/// One question is asked again and again for so long, and up to so many times.
const LONG_ENOUGH: Duration = Duration::from_secs(3);
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
        let reviewer = resident_bytes(house.reviewer.child.id())?;
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
    let (asked, waits) = during(house.port, &pages, || house.reviewer.ask_everything(people))?;
    asked?;
    note_latency(&mut latencies, "the list and its filters", waits);
    note_memory("after the filters", &mut redis, &house)?;
    let (ended, waits) = during(house.port, &pages, || house.reviewer.end_persons(people))?;
    ended?;
    note_latency(&mut latencies, "ending persons", waits);

    let ordered = Instant::now();
    house.reviewer.order("everybody", "")?;
    house.wait_for_refusals(pages)?;
    let in_force = ordered.elapsed();
    // Whoever signs in from now on is not meant, and sees what the walk costs.
    let newcomers = runtime.block_on(establish(&house.sessions, people + ENDED..people + ENDED + SAMPLE, 5));
    let pages: Vec<_> = newcomers.iter().map(page).collect();
    let (walk, waits) = during(house.port, &pages, || house.reviewer.answer())?;
    let (ended, took) = walk?;
    note_latency(&mut latencies, "the walk behind the end of everybody", waits);
    println!("| everybody ended: in force | {SAMPLE} sampled | {} | | <= 500 ms |", milliseconds(in_force));
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

    /// Asks for all pages again and again until each was refused.
    fn wait_for_refusals(&self, mut pages: Vec<Vec<u8>>) -> io::Result<()> {
        let mut browser = Browser::connect(self.port)?;
        while !pages.is_empty() {
            let mut given = Vec::with_capacity(pages.len());
            for page in pages {
                if browser.ask(&page)?.0 != 401 {
                    given.push(page);
                }
            }
            pages = given;
        }
        Ok(())
    }
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

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// The process that looks for sessions and ends them.
struct Reviewer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Reviewer {
    fn start(configuration: &std::path::Path) -> Result<Self, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("reviewer").arg(configuration).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let orders = child.stdin.take().ok_or("no way to order")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no answers")?);
        Ok(Self { child, orders, answers })
    }

    fn order(&mut self, what: &str, of: &str) -> io::Result<()> {
        writeln!(self.orders, "{what}\t{of}")
    }

    /// The number of sessions that were meant, and how long it took the reviewer.
    fn answer(&mut self) -> Result<(usize, Duration), Failed> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let (found, took) = line.trim().split_once(' ').ok_or_else(|| format!("the reviewer said {line:?}"))?;
        Ok((found.parse()?, Duration::from_micros(took.parse()?)))
    }

    fn ask(&mut self, what: &str, of: &str) -> Result<(usize, Duration), Failed> {
        self.order(what, of)?;
        self.answer()
    }

    /// A row: the same asked of several.
    fn row(&mut self, name: &str, what: &str, of: impl Iterator<Item = String>, target: &str) -> Result<(), Failed> {
        let (begun, mut times, mut found) = (Instant::now(), Vec::new(), 0);
        for of in of {
            let (number, took) = self.ask(what, &of)?;
            found = number;
            times.push(took);
            if begun.elapsed() > LONG_ENOUGH {
                break;
            }
        }
        times.sort_unstable();
        let [lowest, middle, highest] =
            [times.first(), times.get(times.len() / 2), times.last()].map(|time| time.copied().unwrap_or_default());
        let [lowest, middle, highest] = [lowest, middle, highest].map(milliseconds);
        println!("| {name} | {found} | {middle} | [{lowest}..{highest}] | {target} |");
        Ok(())
    }

    fn ask_everything(&mut self, people: usize) -> Result<(), Failed> {
        // Spread over all there are: who signed in last is found first.
        let persons = || (1..=OFTEN_ENOUGH).map(move |part| people * part / (OFTEN_ENOUGH + 1));
        let everybody = || std::iter::repeat_n(String::new(), OFTEN_ENOUGH);
        let name = |person| identity(person, 0).preferred_username.unwrap_or_default();
        let email = |person| identity(person, 0).email.unwrap_or_default();
        let address = |person| client(person).address.unwrap_or_default();
        self.row("the first page", "page", everybody(), "")?;
        self.row("a page by user name", "user", persons().map(name), "<= 50 ms")?;
        self.row("a page by e-mail", "user", persons().map(email), "<= 50 ms")?;
        self.row("a page by group", "group", persons().map(group_name), "<= 500 ms")?;
        self.row("a page by provider, 1 % of the people", "idp", everybody().map(|_| PARTNER.to_owned()), "")?;
        self.row("a page by address", "ip", persons().map(address), "")?;
        self.row("count of all", "count", everybody(), "")?;
        self.row("count of a group", "count-group", persons().map(group_name), "")
    }

    fn end_persons(&mut self, people: usize) -> Result<(), Failed> {
        let subjects = (people..people + ENDED).map(|person| identity(person, 0).subject);
        self.row("one person ended", "person", subjects, "<= 20 ms")
    }
}

impl Drop for Reviewer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Carries out what is ordered, a line each; says how many sessions were meant and how many microseconds it took.
fn review(configuration: &str) -> Result<(), Failed> {
    let runtime = Runtime::new()?;
    let sessions = {
        let _entered = runtime.enter();
        let sessions = open(&settings(configuration.to_owned()));
        sessions.maintenance().spawn();
        sessions
    };
    let administration = sessions.administration();
    for line in io::stdin().lines() {
        let line = line?;
        let (what, of) = line.split_once('\t').ok_or("no order")?;
        let begun = Instant::now();
        let meant = runtime.block_on(carry_out(&administration, what, of.to_owned()))?;
        let took = begun.elapsed();
        println!("{meant} {}", took.as_micros());
    }
    Ok(())
}

async fn carry_out(sessions: &SessionAdministration, what: &str, of: String) -> Result<usize, Failed> {
    let by = |person| Filter { person, ..Filter::default() };
    let by_group = |group| by(PersonFilter { group: Some(group), ..PersonFilter::default() });
    match what {
        "page" => first_page(sessions, &Filter::default()).await,
        "user" => first_page(sessions, &by(PersonFilter { user: Some(of), ..PersonFilter::default() })).await,
        "group" => first_page(sessions, &by_group(of)).await,
        "idp" => first_page(sessions, &by(PersonFilter { idp: Some(of), ..PersonFilter::default() })).await,
        "ip" => first_page(sessions, &Filter { network: Some(parse_network(&of)?), ..Filter::default() }).await,
        "count" => Ok(sessions.count(&Filter::default()).await?.sessions),
        "count-group" => Ok(sessions.count(&by_group(of)).await?.sessions),
        "person" => end(sessions, &Selection::person(&identity(0, 0).issuer, &of)).await,
        "everybody" => end(sessions, &Selection::Matching(Filter::default())).await,
        other => Err(format!("no such order: {other}").into()),
    }
}

/// Goes on until a page is full or there are no more, however many are looked at for it.
async fn first_page(sessions: &SessionAdministration, filter: &Filter) -> Result<usize, Failed> {
    let (mut found, mut place) = (0, None);
    loop {
        let page = sessions.page(filter, place, PAGE - found).await?;
        found += page.sessions.len();
        if found >= PAGE || page.next.is_none() {
            return Ok(found);
        }
        place = page.next;
    }
}

async fn end(sessions: &SessionAdministration, selection: &Selection) -> Result<usize, Failed> {
    Ok(sessions.revoke(selection, &Order::of_the_program("measured")).await.complete()?.ended.len())
}
