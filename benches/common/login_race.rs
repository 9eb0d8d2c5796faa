//! Logins that a revocation overtakes, and logins that begin right behind it.
//!
//! A login is the store's part of one here: the number of the cut-off log where it begins
//! (`login_number`), and `establish` where it ends, both in this process. Browser and provider are left out. The
//! revocation comes by the API of a broker, another process.

use std::time::Duration;

use counterfoil::session::Sessions;
use counterfoil::session::establish::Refusal;
use counterfoil::session::establish::{EstablishError, NewSession};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep_until};

use crate::sessions::{identity, login};
use crate::{Failed, House};

/// Logins that begin within the second after the acknowledgement.
const BEGUN_AFTER: usize = 20;
const AT_A_TIME: usize = 128;
const GROUPS: usize = 5;

/// The person of each login.
type PersonOf = fn(usize) -> usize;

/// The outcome of some logins.
#[derive(Default)]
struct Count {
    accepted: usize,
    refused: usize,
}

impl Count {
    fn add(&mut self, established: Result<(), EstablishError>) -> Result<(), Failed> {
        match established {
            Ok(()) => self.accepted += 1,
            Err(EstablishError::Refused(Refusal::Overtaken)) => self.refused += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn print(&self, ended: &str, logins: &str, should_be: &str) {
        let Self { accepted, refused } = self;
        println!("| {ended} | {logins} | {} | {accepted} | {refused} | {should_be} |", accepted + refused);
    }
}

/// Lets so many logins be overtaken, once for each kind of order.
pub(crate) fn race(house: &mut House, number: usize) -> Result<(), Failed> {
    println!("| ended | logins | number | accepted | refused | all should be |");
    println!("| --- | --- | ---: | ---: | ---: | --- |");
    let one = identity(0, GROUPS);
    let person = format!(r#"{{"issuer": "{}", "subject": "{}"}}"#, one.issuer, one.subject);
    let group = format!(r#"{{"group": "{}"}}"#, one.groups[0]);
    let somebody_each_time = |login: usize| login;
    let kinds: [(&str, &str, PersonOf); 3] = [
        ("one person", &person, |_| 0),
        ("a group", &group, somebody_each_time),
        ("everybody", r#"{"all": true}"#, somebody_each_time),
    ];
    for (ended, filter, person_of) in kinds {
        let sessions = house.sessions.clone();
        let under_way = house.runtime.block_on(async {
            let begun = stream::iter(0..number).map(|index| begin(&sessions, person_of(index)));
            begun.buffer_unordered(AT_A_TIME).try_collect::<Vec<_>>().await
        })?;
        house.revoke(&format!(r#"{{"filter": {filter}, "reason": "measured", "fresh_login": false}}"#))?;
        let acknowledged = Instant::now();
        let (overtaken, begun_after) = house.runtime.block_on(async {
            tokio::try_join!(finish(&sessions, under_way), begin_after(&sessions, acknowledged, number, person_of))
        })?;
        overtaken.print(ended, "begun before, finished after", "refused");
        begun_after.print(ended, "begun within the second after", "accepted");
    }
    Ok(())
}

async fn begin(sessions: &Sessions, person: usize) -> Result<NewSession, Failed> {
    Ok(NewSession { begun: Some(sessions.login_number().await?), ..login(person, GROUPS) })
}

async fn finish(sessions: &Sessions, under_way: Vec<NewSession>) -> Result<Count, Failed> {
    let mut count = Count::default();
    let mut finished = stream::iter(under_way).map(|new| sessions.establish(new)).buffer_unordered(AT_A_TIME);
    while let Some(established) = finished.next().await {
        count.add(established.map(drop))?;
    }
    Ok(count)
}

async fn begin_after(
    sessions: &Sessions,
    acknowledged: Instant,
    first: usize,
    person_of: PersonOf,
) -> Result<Count, Failed> {
    let mut count = Count::default();
    for index in 0..BEGUN_AFTER {
        let due =
            Duration::from_secs(1).mul_f64(f64::from(u32::try_from(index)?) / f64::from(u32::try_from(BEGUN_AFTER)?));
        sleep_until(acknowledged + due).await;
        let new = begin(sessions, person_of(first + index)).await?;
        count.add(sessions.establish(new).await.map(drop))?;
    }
    Ok(count)
}
