//! The verbs, one file each: what is asked, and how the answer is shown.

mod apply;
mod bfd;
mod bgp;
mod check;
mod cluster;
mod drain;
mod exits;
mod flow;
mod flows;
mod mappings;
mod owner;
mod pools;
mod status;
mod watch;
mod who;

pub use cluster::{CertificatesError, RollError};

use std::{
    future::Future,
    io::{self, Read},
    path::{Path, PathBuf},
};

use api::http::path;
use serde::de::DeserializeOwned;

use crate::{
    args::{Cli, Command},
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    manual,
    output::{Look, Output},
};

/// Does what the command line says.
///
/// # Errors
///
/// When it cannot be done; the failure says which exit status that is.
pub fn run(cli: Cli, output: &mut Output) -> Result<Exit, Failure> {
    let daemon = Daemon::at(cli.socket);
    match cli.command {
        Command::Status => waiting(ask(
            &daemon,
            output,
            Request::get(path::STATUS),
            status::show,
        )),
        Command::Flows(flows) => waiting(flows::run(&daemon, output, flows)),
        Command::Flow { tuple } => waiting(flow::run(&daemon, output, &tuple)),
        Command::Who(asked) => waiting(who::run(&daemon, output, asked)),
        Command::Pools => waiting(ask(&daemon, output, Request::get(path::POOLS), pools::show)),
        Command::Mappings { command } => waiting(mappings::run(&daemon, output, command)),
        Command::Bgp { command } => waiting(bgp::run(&daemon, output, command)),
        Command::Cluster { command } => cluster::run(&daemon, output, command),
        Command::Owner { tuple } => waiting(owner::run(&daemon, output, &tuple)),
        Command::Bfd => waiting(ask(&daemon, output, Request::get(path::BFD), bfd::show)),
        Command::Drain(wait) => waiting(drain::run(&daemon, output, &wait)),
        Command::Undrain(wait) => waiting(drain::end(&daemon, output, &wait)),
        Command::Drops { all } => waiting(exits::drops(&daemon, output, all)),
        Command::Counters => waiting(exits::counters(&daemon, output)),
        Command::Apply(apply) => waiting(apply::run(&daemon, output, apply)),
        Command::Check { files } => check::run(output, &files),
        Command::Watch(watch) => waiting(watch::run(&daemon, output, &watch)),
        Command::Config => waiting(print(&daemon, output, path::CONFIG)),
        Command::Metrics => waiting(print(&daemon, output, path::METRICS)),
        Command::Completions { shell } => output.bytes(&manual::completions(shell)).map(fine),
        Command::Man { out: None } => output.bytes(&manual::page()).map(fine),
        Command::Man {
            out: Some(directory),
        } => manual::write_pages(&directory).map(fine),
    }
}

fn fine((): ()) -> Exit {
    Exit::Fine
}

/// Runs what waits for the daemon.
fn waiting(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::Wait {
            what: "the daemon",
            source,
        })?
        .block_on(command)
}

/// Asks, and shows the answer or hands on its JSON.
async fn ask<T: DeserializeOwned>(
    daemon: &Daemon,
    output: &mut Output,
    request: Request,
    show: fn(&T, Look) -> String,
) -> Result<Exit, Failure> {
    if output.is_json() {
        return hand_on(daemon, output, request).await;
    }
    let answer: T = daemon.ask(request).await?;
    output.text(&show(&answer, output.look()))?;
    Ok(Exit::Fine)
}

/// Asks, and prints the answer's JSON.
async fn hand_on(daemon: &Daemon, output: &mut Output, request: Request) -> Result<Exit, Failure> {
    let answer = daemon.send(request).await?.accepted().await?;
    output.json_answer(answer).await.map(fine)
}

/// Prints what the daemon has as text.
async fn print(daemon: &Daemon, output: &mut Output, path: &str) -> Result<Exit, Failure> {
    let answer = daemon.send(Request::get(path)).await?.accepted().await?;
    output.text_answer(answer).await.map(fine)
}

/// What messages call a file.
fn name(file: &Path) -> String {
    if is_standard_input(file) {
        "<stdin>".to_owned()
    } else {
        file.display().to_string()
    }
}

/// Reads a configuration, and one byte more than a configuration may have: whoever judges it then
/// says that it is too long, and a file without an end does not fill the memory.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let limit = u64::try_from(gateway::intent::CONFIG_BYTES_MAX).unwrap_or(u64::MAX);
    let read_from = |source: &mut dyn Read| {
        let mut bytes = Vec::new();
        source
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let result = if is_standard_input(file) {
        read_from(&mut io::stdin().lock())
    } else {
        std::fs::File::open(file).and_then(|mut file| read_from(&mut file))
    };
    result.map_err(|source| Failure::Read {
        file: PathBuf::from(name(file)),
        source,
    })
}

fn is_standard_input(file: &Path) -> bool {
    file == Path::new("-")
}

#[cfg(test)]
mod tests;
