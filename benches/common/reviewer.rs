//! A reviewer in a process of its own: the library's `SessionAdministration`, told by lines what to do.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use counterfoil::session::SessionAdministration;
use counterfoil::session::filter::{Filter, PersonFilter, parse_network};
use counterfoil::session::revocation::{Order, Selection};
use tokio::runtime::Runtime;

use crate::Failed;
use crate::sessions::{identity, open, settings};

/// Sessions on a page of the list.
const PAGE: usize = 50;
/// One question is asked again and again for so long.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

/// The process that looks for sessions and ends them.
pub(crate) struct Reviewer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Reviewer {
    /// Starts one under a configuration.
    pub(crate) fn start(configuration: &std::path::Path) -> Result<Self, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("reviewer").arg(configuration).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let orders = child.stdin.take().ok_or("no way to order")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no answers")?);
        Ok(Self { child, orders, answers })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Orders something, and does not wait for it.
    pub(crate) fn order(&mut self, what: &str, of: &str) -> io::Result<()> {
        writeln!(self.orders, "{what}\t{of}")
    }

    /// The number of sessions that were meant, and how long it took the reviewer.
    pub(crate) fn answer(&mut self) -> Result<(usize, Duration), Failed> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let (found, took) = line.trim().split_once(' ').ok_or_else(|| format!("the reviewer said {line:?}"))?;
        Ok((found.parse()?, Duration::from_micros(took.parse()?)))
    }

    /// Orders something, and waits for it.
    pub(crate) fn ask(&mut self, what: &str, of: &str) -> Result<(usize, Duration), Failed> {
        self.order(what, of)?;
        self.answer()
    }

    /// A row: the same asked of several.
    pub(crate) fn row(
        &mut self,
        name: &str,
        what: &str,
        of: impl Iterator<Item = String>,
        target: &str,
    ) -> Result<(), Failed> {
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
}

impl Drop for Reviewer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Carries out what is ordered, a line each; says how many sessions were meant and how many microseconds it took.
pub(crate) fn review(configuration: &str) -> Result<(), Failed> {
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

/// A time, as the tables have it.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
