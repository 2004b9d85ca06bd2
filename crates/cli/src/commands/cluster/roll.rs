//! `egret cluster roll`: all members are taken out and brought back, one after the other.
//!
//! Members are asked by their own command `egret`, which the user says how to run there: sockets stay local, and
//! nothing is assumed of how machines are reached.

mod plan;

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use api::http::{Cluster, path};
use gateway::intent::cluster::is_name;
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{
    args::RollArgs,
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    output::Output,
    text::printable,
};

use plan::{Answer, Ask, Next, Plan, Step, Stop};

/// How far apart a member is asked whether it is back.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a question may take, with the way to the member.
const ASK_MAX: Duration = Duration::from_secs(60);
/// How long a drain may take, with the way to the member: `bgp.drain` is an hour at most, and flows are handed over
/// then.
const DRAIN_MAX: Duration = Duration::from_secs(2 * 3600);
/// How long what the user wants to be run may take.
const RUN_MAX: Duration = Duration::from_secs(2 * 3600);
/// Bytes of an answer; that of sixteen members is a few thousand.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What stands for the member's name in what the user says.
const NAME: &str = "{name}";

/// Why a roll does not begin.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// There is nothing to roll.
    #[error("this gateway is alone: it is a member of no cluster")]
    Alone,
    /// No such member.
    #[error("`{0}` is no member of the cluster")]
    NoMember(String),
    /// All members would be asked alike.
    #[error("`{0}` does not say which member is meant")]
    NoName(&'static str),
}

impl RollError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Alone => {
                "run it on a member, or name the members: `egret cluster roll … gw1 gw2 gw3`"
            }
            Self::NoMember(_) => "`egret cluster` lists them",
            Self::NoName(_) => {
                "write `{name}` where the member's name is to stand: --via 'ssh {name} egret'"
            }
        }
    }
}

/// One line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    /// The member at hand.
    member: &'a str,
    /// `checking`, `draining`, `running`, `returning`, `done` or `stopped`.
    step: &'a str,
    /// Why it is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

/// Rolls all members, or those from one on.
pub async fn run(daemon: &Daemon, output: &mut Output, args: &RollArgs) -> Result<Exit, Failure> {
    for (option, text) in [("--via", &args.via), ("--run", &args.run)] {
        if !text.contains(NAME) {
            return Err(RollError::NoName(option).into());
        }
    }
    let all = match args.members.is_empty() {
        true => members_of(daemon.ask(Request::get(path::CLUSTER)).await?)?,
        false => args.members.clone(),
    };
    // They become part of commands.
    if let Some(name) = all.iter().find(|it| !is_name(it)) {
        return Err(RollError::NoMember(name.clone()).into());
    }
    let first = match &args.from {
        None => 0,
        Some(from) => {
            let place = all.iter().position(|it| it == from);
            place.ok_or_else(|| RollError::NoMember(from.clone()))?
        }
    };
    let members = all.get(first..).unwrap_or_default().to_vec();
    let plan = Plan::new(all, members, (args.from.is_some(), args.timeout));
    Roll { args, output, plan }.run().await
}

fn members_of(cluster: Cluster) -> Result<Vec<String>, RollError> {
    match cluster.name {
        Some(_) => Ok(cluster.members.into_iter().map(|it| it.name).collect()),
        None => Err(RollError::Alone),
    }
}

struct Roll<'a> {
    args: &'a RollArgs,
    output: &'a mut Output,
    plan: Plan,
}

impl Roll<'_> {
    async fn run(mut self) -> Result<Exit, Failure> {
        let mut told = (String::new(), "");
        let mut next = self.plan.begin();
        loop {
            let (member, step) = self.plan.stands();
            let stands = (member.to_owned(), step.word());
            if stands != told && !matches!(next, Next::Stop(_) | Next::End) {
                self.tell(&stands.0, step)?;
                told = stands;
            }
            next = match next {
                Next::Ask(member, ask) => {
                    let answer = self.ask(&member, ask).await?;
                    self.plan.handle(answer, Instant::now())
                }
                Next::Pause => {
                    tokio::time::sleep(PAUSE).await;
                    self.plan.ask()
                }
                Next::End => {
                    let done = (&*told.0, "done", "all members are done, and well");
                    self.line(done, None)?;
                    return Ok(Exit::Fine);
                }
                Next::Stop(stop) => return self.stopped(&stop),
            };
        }
    }

    fn stopped(&mut self, stop: &Stop) -> Result<Exit, Failure> {
        if self.output.is_json() {
            self.line((&stop.member, "stopped", ""), Some(&stop.why))?;
        }
        self.output.remark(&stop.to_string())?;
        Ok(Exit::Refused)
    }

    /// Says where it is.
    fn tell(&mut self, member: &str, step: Step) -> Result<(), Failure> {
        let text = match step {
            Step::Check(_) => "are all members up, and do they have each other's flows?".to_owned(),
            Step::Drain => format!("{}: drains", printable(member)),
            Step::Run => {
                let command = self.args.run.replace(NAME, member);
                format!("{}: runs `{}`", printable(member), printable(&command))
            }
            Step::Return { .. } => {
                format!(
                    "{}: is to come back, and to get its flows",
                    printable(member)
                )
            }
        };
        self.line((member, step.word(), &text), None)
    }

    fn line(
        &mut self,
        (member, step, text): (&str, &str, &str),
        why: Option<&str>,
    ) -> Result<(), Failure> {
        match self.output.is_json() {
            true => self.output.json(&Line { member, step, why })?,
            false => self.output.text(&format!("{text}\n"))?,
        }
        self.output.flush()
    }

    async fn ask(&mut self, member: &str, ask: Ask) -> Result<Answer, Failure> {
        let via = self.args.via.replace(NAME, member);
        let seconds = self.args.timeout.as_secs();
        match ask {
            Ask::Cluster => Ok(shown(&format!("{via} --json cluster")).await),
            Ask::Drain => {
                let command = format!("{via} drain --timeout {seconds}s");
                self.follow(member, &command, DRAIN_MAX).await
            }
            Ask::Undrain => {
                let command = format!("{via} undrain --timeout {seconds}s");
                self.follow(member, &command, DRAIN_MAX).await
            }
            Ask::Run => {
                let command = self.args.run.replace(NAME, member);
                self.follow(member, &command, RUN_MAX).await
            }
        }
    }

    /// Runs a command and hands on what it prints, each line with the member's name before it.
    async fn follow(
        &mut self,
        member: &str,
        command: &str,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let mut child = match spawn(command, Stdio::inherit()) {
            Ok(child) => child,
            Err(error) => return Ok(Answer::Failed(not_run(command, &error))),
        };
        let until = tokio::time::Instant::now() + limit;
        let stdout = child.stdout.take();
        let mut lines = stdout.map(|it| BufReader::new(it).lines());
        while let Some(reader) = &mut lines {
            match tokio::time::timeout_at(until, reader.next_line()).await {
                Ok(Ok(Some(line))) if !self.output.is_json() => {
                    let (member, line) = (printable(member), printable(&line));
                    self.output.text(&format!("{member}: {line}\n"))?;
                    self.output.flush()?;
                }
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None) | Err(_)) => lines = None,
                Err(_) => return Ok(Answer::Failed(too_long(command, limit))),
            }
        }
        Ok(match tokio::time::timeout_at(until, child.wait()).await {
            Ok(Ok(status)) if status.success() => Answer::Done,
            Ok(Ok(status)) => Answer::Failed(ended(command, status)),
            Ok(Err(error)) => Answer::Failed(not_run(command, &error)),
            Err(_) => Answer::Failed(too_long(command, limit)),
        })
    }
}

/// How a member sees the cluster.
async fn shown(command: &str) -> Answer {
    let asked = async {
        let mut child = spawn(command, Stdio::piped()).map_err(|error| not_run(command, &error))?;
        let (mut text, mut complaint) = (Vec::new(), Vec::new());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let read = async {
            if let Some(stdout) = stdout {
                stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut text).await?;
            }
            if let Some(stderr) = stderr {
                stderr
                    .take(ANSWER_BYTES_MAX)
                    .read_to_end(&mut complaint)
                    .await?;
            }
            child.wait().await
        };
        let status = read.await.map_err(|error| not_run(command, &error))?;
        if !status.success() {
            let complaint = String::from_utf8_lossy(&complaint);
            let first = complaint.lines().next().unwrap_or_default();
            return Err(format!("{}: {}", ended(command, status), printable(first)));
        }
        serde_json::from_slice::<Cluster>(&text).map_err(|error| {
            format!(
                "`{}` printed what is no answer of `egret --json cluster`: {error}",
                printable(command)
            )
        })
    };
    match timeout(ASK_MAX, asked).await {
        Ok(Ok(cluster)) => Answer::Cluster(Box::new(cluster)),
        Ok(Err(why)) => Answer::Failed(why),
        Err(_) => Answer::Failed(too_long(command, ASK_MAX)),
    }
}

/// Runs a command line of the user's. It cannot ask: standard input is nobody's.
fn spawn(command: &str, stderr: Stdio) -> std::io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
}

fn ended(command: &str, status: std::process::ExitStatus) -> String {
    format!("`{}` ended with {status}", printable(command))
}

fn not_run(command: &str, error: &std::io::Error) -> String {
    format!("`{}` cannot be run: {error}", printable(command))
}

fn too_long(command: &str, limit: Duration) -> String {
    format!(
        "`{}` did not end within {} s",
        printable(command),
        limit.as_secs()
    )
}
