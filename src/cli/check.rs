//! `counterfoil check`: the faults ahead, one line per finding, with the remedy.
//!
//! Judges the configuration itself ([`routes`]), and asks the store, every upstream and every identity provider
//! ([`providers`]). A certain fault is a failure, a possible one is a note. Each finding: docs/check.md.

mod providers;
mod routes;

mod authentication_time;
mod store;

use std::sync::Arc;

use super::output::say;
use super::{CommandError, ConfigFile, failed};
use crate::clock::{SharedClock, SystemClock};
use crate::guard::route::Route;
use crate::telemetry::{self, LogSettings};

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    /// It works.
    Fine(String),
    /// It works, or may; it should be known.
    Note(String),
    /// It does not work.
    Failure(String),
}

pub(super) async fn run(file: ConfigFile) -> Result<(), CommandError> {
    let settings = file.settings()?;
    // Logs only the faults of the layers below, such as a password that Redis does not take.
    telemetry::start(LogSettings { level: tracing::Level::WARN, ..settings.log }, std::io::stderr);
    let clock: SharedClock = Arc::new(SystemClock);
    let mut report = Report::default();
    let (idps, routes) = (settings.idps.len(), settings.routes.len());
    report.add([Finding::Fine(format!("configuration: {idps} provider(s), {routes} route(s)"))])?;
    // Routes without an upstream are told of with the others.
    let warnings = settings.warnings.iter().filter(|warning| !warning.starts_with("route["));
    report.add(warnings.cloned().map(Finding::Note))?;
    report.add(routes::findings(&settings.routes))?;
    report.add(routes::upstreams(&settings).await)?;
    report.add(store::findings(&settings.store, &settings.keyring, &settings.rules, clock.clone()).await)?;
    let is_alone = settings.idps.len() == 1;
    for idp in &settings.idps {
        if let Some(proxy) = idp.proxy_on_the_way() {
            report.add([Finding::Note(format!("idp.{}: asked through the proxy {proxy}", idp.name))])?;
        }
        let needs = providers::needs(&idp.name, &settings);
        let (findings, is_told) = providers::findings(idp, &needs, &settings.public_url, clock.clone()).await;
        report.add(findings)?;
        if is_told {
            continue;
        }
        let untold = authentication_time::unmeetable(&idp.name, idp.login.request.max_age, &settings.routes, is_alone);
        report.add(untold.into_iter().map(|found| {
            if found.is_certain { Finding::Failure(found.problem) } else { Finding::Note(found.problem) }
        }))?;
    }
    report.end()
}

/// The problems of routes that answer nobody, or not as they say.
pub(super) fn unreachable_routes(routes: &[Route]) -> Vec<String> {
    let problem = |finding| match finding {
        // Those without an upstream are told of with the configuration.
        Finding::Failure(problem) if !problem.contains(".upstream:") => Some(problem),
        _ => None,
    };
    routes::findings(routes).into_iter().filter_map(problem).collect()
}

/// The findings so far. The check goes on after standard output is closed: the exit code is a result too.
#[derive(Debug, Default)]
struct Report {
    failures: usize,
}

impl Report {
    fn add(&mut self, findings: impl IntoIterator<Item = Finding>) -> Result<(), CommandError> {
        for finding in findings {
            let line = match finding {
                Finding::Fine(line) => format!("ok    {line}"),
                Finding::Note(line) => format!("note  {line}"),
                Finding::Failure(line) => {
                    self.failures += 1;
                    format!("fail  {line}")
                }
            };
            match say(&line) {
                Ok(()) | Err(CommandError::NobodyReads) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn end(self) -> Result<(), CommandError> {
        if self.failures == 0 { Ok(()) } else { Err(failed(format!("{} check(s) failed", self.failures))) }
    }
}
