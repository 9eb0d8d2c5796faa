//! The command line: arguments to a command, a command to an exit code.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod blocks;
mod check;
#[cfg(feature = "demo")]
mod demo;
mod keys;
mod output;
mod review;
mod serve;
mod sessions;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use thiserror::Error;

use crate::config::{Faults, Settings, Source, SourceError};
use crate::telemetry::LogThread;

/// Bad usage or configuration (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;
/// Longest wait for background tasks at the end of the process.
const LONGEST_END: Duration = Duration::from_millis(500);

/// OAuth 2.0 / OpenID Connect session broker for back offices.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole product on an empty machine, with an identity provider and a back office to try it on
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
    /// Guard a back office
    Serve(ConfigFile),
    /// Validate a configuration, then ask the store and every identity provider
    Check(ConfigFile),
    /// Look at sessions and end them, straight in the store
    #[command(subcommand)]
    Sessions(sessions::Command),
    /// Look at who is blocked and let them back in, straight in the store
    #[command(subcommand)]
    Blocks(blocks::Command),
    /// Secret keys
    #[command(subcommand)]
    Keys(keys::Command),
}

/// The place of the configuration.
#[derive(Debug, Clone, clap::Args)]
struct ConfigFile {
    /// A TOML file; without it the environment alone counts
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The reason that a command ends early.
#[derive(Debug, Error)]
enum CommandError {
    /// The configuration is wrong: exit code 64.
    #[error("{0}")]
    Configuration(#[from] Faults),
    /// The configuration cannot be read: exit code 64.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// The arguments are wrong: exit code 64.
    #[error("{0}")]
    Usage(String),
    /// Something failed: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Something failed, and standard output said so already: exit code 1.
    #[error("said already")]
    Said,
    /// Standard output was closed by its reader: exit code 0.
    #[error("nobody reads any more")]
    NobodyReads,
}

/// Runs the program with the process's arguments.
pub fn run() -> ExitCode {
    // Errors that come before the arguments are parsed respect it, too.
    let json = std::env::args_os().any(|argument| argument == "--json");
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => {
            // Help and version are asked for; everything else is a mistake.
            if !answer.use_stderr() {
                // A closed standard error is ignored.
                let _ = answer.print();
                return ExitCode::SUCCESS;
            }
            if json {
                output::complain(&CommandError::Usage(answer.to_string()), json);
            } else {
                let _ = answer.print();
            }
            return ExitCode::from(USAGE);
        }
    };
    // The last to go: what the runtime drops at its end leaves lines, too.
    let mut log = LogThread::default();
    let result = match arguments.command {
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => in_runtime(demo::run(arguments, &mut log)),
        Command::Serve(file) => in_runtime(serve::run(file, &mut log)),
        Command::Check(file) => in_runtime(check::run(file)),
        Command::Sessions(command) => in_runtime(sessions::run(command)),
        Command::Blocks(command) => in_runtime(blocks::run(command)),
        Command::Keys(command) => keys::run(command),
    };
    drop(log);
    let Err(error) = result else { return ExitCode::SUCCESS };
    output::complain(&error, json);
    match error {
        CommandError::NobodyReads => ExitCode::SUCCESS,
        CommandError::Failed(_) | CommandError::Said => ExitCode::FAILURE,
        CommandError::Configuration(_) | CommandError::Source(_) | CommandError::Usage(_) => ExitCode::from(USAGE),
    }
}

fn in_runtime(command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let done = runtime.block_on(command);
    // Requests that are cut off leave their lines; a file that still cannot be read must not keep the process.
    runtime.shutdown_timeout(LONGEST_END);
    done
}

fn failed(error: impl std::fmt::Display) -> CommandError {
    CommandError::Failed(error.to_string())
}

impl ConfigFile {
    fn settings(&self) -> Result<Settings, CommandError> {
        Ok(Source::of_process(self.config.as_deref())?.settings()?)
    }
}
