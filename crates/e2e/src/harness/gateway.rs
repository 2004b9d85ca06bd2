//! The life of the gateway under test: prepared, started, reloaded, killed, stopped, removed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::{Host, Process, Signal};

use super::notify::NotifySocket;
use super::{program, wait_for};

/// How long the daemon may take until it serves. It takes a second on one slow core: the verifier
/// walks through the whole packet path.
pub const READY_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take to end when it is told to.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Lines of the log that are shown when a test has failed.
const LOG_TAIL_LINES: usize = 40;

/// One `egretd` in a gateway host of a lab, its configuration and its state.
///
/// The state (what is pinned) outlives the daemon, as it does on a real gateway, and ends with this
/// value.
pub struct Gateway {
    host: Host,
    directory: PathBuf,
    socket: PathBuf,
    state: PathBuf,
    notify: NotifySocket,
    daemon: Option<Process>,
    /// What each start of the daemon adds to its environment.
    environment: Vec<(String, String)>,
    finished: bool,
}

impl Gateway {
    /// Writes the configuration and starts the daemon; returns when it serves and its program
    /// hangs on every interface.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn launch(host: &Host, policy: &str) -> Result<Self> {
        let mut gateway = Self::prepare(host, policy)?;
        gateway.start()?;
        gateway.check_attached()?;
        Ok(gateway)
    }

    /// Writes the configuration only; see [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// If the host is not a gateway, or its directory cannot be written.
    pub fn prepare(host: &Host, policy: &str) -> Result<Self> {
        let no_gateway = || format!("{} is not a gateway of its site", host.name());
        let directory = host.directory().with_context(no_gateway)?.to_owned();
        let gateway = Self {
            host: host.clone(),
            socket: directory.join("egret.sock"),
            state: host.bpffs().with_context(no_gateway)?.join("egret"),
            notify: NotifySocket::listen(directory.join("notify.sock"))?,
            directory,
            daemon: None,
            environment: Vec::new(),
            finished: false,
        };
        gateway.write_policy(policy)?;
        Ok(gateway)
    }

    /// Sets a variable in the environment of the daemons that are started from now on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the daemon, again perhaps, and returns when it serves (`READY=1`).
    ///
    /// # Errors
    ///
    /// If it runs already, ends instead, or takes too long.
    pub fn start(&mut self) -> Result<()> {
        ensure!(
            self.daemon.is_none(),
            "the daemon of {} runs already",
            self.host.name()
        );
        self.notify.drain()?;
        let mut command = self.daemon_command()?;
        command.env("NOTIFY_SOCKET", self.notify.path());
        self.daemon = Some(self.host.spawn(command)?);
        self.await_state("READY=1", "the daemon serves")
    }

    /// Sends SIGHUP and returns when the daemon has read its file again. Whether it liked what it
    /// read, [`status`](Self::status) tells.
    ///
    /// # Errors
    ///
    /// If it ends instead, or takes too long.
    pub fn reload(&mut self) -> Result<()> {
        self.notify.drain()?;
        self.signal(Signal::SIGHUP)?;
        self.await_state("RELOADING=1", "the daemon begins to reload")?;
        self.await_state("READY=1", "the daemon has reloaded")
    }

    /// Sends the daemon a signal.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        Ok(self.running()?.signal(signal)?)
    }

    /// Kills the daemon with SIGKILL; what is pinned goes on.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.running()?.kill()?;
        self.daemon = None;
        Ok(())
    }

    /// Ends the daemon with SIGTERM and returns how it ended; what is pinned goes on.
    ///
    /// # Errors
    ///
    /// If it does not run, or does not end in time.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let daemon = self.running()?;
        daemon.signal(Signal::SIGTERM)?;
        let ended = daemon
            .wait(END_LIMIT)?
            .context("the daemon ignores SIGTERM")?;
        self.daemon = None;
        Ok(ended)
    }

    /// Stops the daemon in order and starts it again.
    ///
    /// # Errors
    ///
    /// If it does not end well, or does not serve again.
    pub fn restart(&mut self) -> Result<()> {
        let ended = self.stop()?;
        ensure!(ended.success(), "the daemon ended with {ended}");
        self.start()
    }

    /// Says whether the daemon runs. One that has ended by itself may be started again then.
    pub fn is_running(&mut self) -> Result<bool> {
        if let Some(daemon) = &mut self.daemon
            && daemon.ended()?.is_some()
        {
            self.daemon = None;
        }
        Ok(self.daemon.is_some())
    }

    /// Replaces the daemon's configuration file; nothing changes before a reload or a restart.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write_policy(&self, policy: &str) -> Result<()> {
        self.write_config(&self.full_config(policy))
    }

    /// Replaces the daemon's configuration file by exactly this text.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write_config(&self, text: &str) -> Result<()> {
        let path = self.config_path();
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The whole configuration for a policy: with the host's interfaces, unless the policy has some,
    /// and with the places that the lab has for the socket and the state.
    pub fn full_config(&self, policy: &str) -> String {
        let mut text = String::new();
        if !policy.lines().any(|line| line.starts_with("interfaces:")) {
            text += "interfaces:\n";
            for interface in self.host.interfaces() {
                text += &format!("  - {{name: {interface}, realm: {}}}\n", realm(interface));
            }
        }
        let (socket, state) = (self.socket.display(), self.state.display());
        text + policy.trim_start_matches('\n')
            + &format!("\napi:\n  socket: {socket}\nstate: {state}\n")
    }

    /// Runs `egretd` with this gateway's configuration and some more arguments to its end,
    /// `--check` for example.
    ///
    /// # Errors
    ///
    /// If it cannot be run.
    pub fn run_egretd(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(program("egretd")?);
        command.arg("--config").arg(self.config_path()).args(args);
        Ok(self.host.run(command)?)
    }

    /// Runs `egretd --uninstall`, which has to succeed. The daemon must have ended.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn uninstall(&self) -> Result<()> {
        let output = self.run_egretd(&["--uninstall"])?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`egretd --uninstall` failed: {complaint}"
        );
        Ok(())
    }

    /// Returns what is pinned, maps, programs and links, as paths.
    ///
    /// # Errors
    ///
    /// If the state directory cannot be read.
    pub fn pinned(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut directories = vec![self.state.clone()];
        while let Some(directory) = directories.pop() {
            if !directory.exists() {
                continue;
            }
            let unreadable = || format!("cannot list {}", directory.display());
            for entry in fs::read_dir(&directory).with_context(unreadable)? {
                let path = entry.with_context(unreadable)?.path();
                if path.is_dir() {
                    directories.push(path)
                } else {
                    found.push(path)
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Ends a test that went well: stops the daemon in order, removes everything and checks that
    /// nothing is left, neither pinned nor on an interface.
    ///
    /// # Errors
    ///
    /// If the daemon ended badly or something is left.
    pub fn finish(mut self) -> Result<()> {
        if self.daemon.is_some() {
            let ended = self.stop()?;
            ensure!(ended.success(), "the daemon ended with {ended}");
        }
        self.uninstall()?;
        let pinned = self.pinned()?;
        ensure!(pinned.is_empty(), "`egretd --uninstall` left {pinned:?}");
        let links = self.host.succeed("ip", ["-details", "link", "show"])?;
        ensure!(
            !links.contains("prog/xdp"),
            "a program is left on an interface:\n{links}"
        );
        self.finished = true;
        Ok(())
    }

    /// Removes everything at once and explains nothing: for who breaks off on purpose.
    ///
    /// # Errors
    ///
    /// If something cannot be removed.
    pub fn discard(mut self) -> Result<()> {
        self.finished = true;
        self.daemon = None;
        self.uninstall()
    }

    /// The host it runs in.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The unix socket of its API.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where its state is pinned.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Its configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.directory.join("gateway.yaml")
    }

    /// The file with what all its daemons have printed.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("egretd.log")
    }

    /// What all its daemons have printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Checks that the program hangs on every interface of the configuration.
    fn check_attached(&self) -> Result<()> {
        let interfaces = self.status()?.interfaces;
        let bare: Vec<&str> = interfaces
            .iter()
            .filter(|it| !it.attached)
            .map(|it| it.name.as_str())
            .collect();
        ensure!(
            bare.is_empty() && !interfaces.is_empty(),
            "the program does not hang on {bare:?}"
        );
        Ok(())
    }

    fn daemon_command(&self) -> Result<Command> {
        let path = self.log_path();
        let log = File::options().append(true).create(true).open(&path);
        let log = log.with_context(|| format!("cannot open {}", path.display()))?;
        let mut command = Command::new(program("egretd")?);
        command.arg("--config").arg(self.config_path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn running(&mut self) -> Result<&mut Process> {
        match &mut self.daemon {
            Some(daemon) => Ok(daemon),
            None => bail!("the daemon of {} does not run", self.host.name()),
        }
    }

    /// Waits until the daemon says `state`; `what` says what that means.
    fn await_state(&mut self, state: &str, what: &str) -> Result<()> {
        let (notify, daemon) = (&self.notify, &mut self.daemon);
        wait_for(READY_LIMIT, what, || {
            if notify.heard(state)? {
                return Ok(Some(()));
            }
            let Some(status) = daemon.as_mut().map(Process::ended).transpose()?.flatten() else {
                return Ok(None);
            };
            *daemon = None;
            bail!("the daemon ended with {status} instead of saying {state}, see its log");
        })
    }

    /// Prints what helps to understand why a test failed.
    fn explain(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        eprintln!(
            "the log of the gateway {} ends with:\n{}",
            self.host.name(),
            tail.join("\n")
        );
        match self.counters() {
            Ok(counters) => {
                eprintln!("its counters:");
                for exit in counters.counters.iter().filter(|exit| exit.packets > 0) {
                    eprintln!("  {:<28} {:>10}", exit.reason, exit.packets);
                }
            }
            Err(error) => eprintln!("its counters cannot be read: {error:#}"),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        self.explain();
        // Killed at once: a test that failed may have left it in any state.
        self.daemon = None;
        if let Err(error) = self.uninstall() {
            eprintln!("{error:#}");
        }
    }
}

/// The realm that an interface of the lab's shapes faces, by its name.
fn realm(interface: &str) -> &'static str {
    match interface {
        "in0" => "internal",
        "out0" => "external",
        _ => "both",
    }
}
