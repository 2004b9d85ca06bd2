//! The life of the gateway under test: prepared, started, reloaded, killed, stopped, removed.

use std::fs::File;
use std::path::PathBuf;
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
const END_LIMIT: Duration = Duration::from_secs(25);

/// A policy that is valid whatever the site: `--uninstall` wants to read where the state is.
const SOUND_POLICY: &str = "
pools:
  - {name: any, addresses: [192.0.2.1]}
rules:
  - {name: any, sources: [10.0.0.0/8], pool: any}
";

/// One `egretd` in a gateway host of a lab, its configuration and its state.
///
/// The state (what is pinned) outlives the daemon, as it does on a real gateway, and ends with this
/// value.
pub struct Gateway {
    pub(super) host: Host,
    pub(super) directory: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) state: PathBuf,
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
        self.end(Signal::SIGTERM)
    }

    /// Ends the daemon with SIGUSR1, as before another one takes over.
    ///
    /// # Errors
    ///
    /// If it does not run, or does not end well and in time.
    pub fn hand_over(&mut self) -> Result<()> {
        let ended = self.end(Signal::SIGUSR1)?;
        ensure!(ended.success(), "the daemon ended with {ended}");
        Ok(())
    }

    fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        let daemon = self.running()?;
        daemon.signal(signal)?;
        let ended = daemon
            .wait(END_LIMIT)?
            .with_context(|| format!("the daemon ignores {signal}"))?;
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
        self.remove_in_any_state()
    }

    /// Removes everything, whatever runs and whatever stands in the configuration file.
    fn remove_in_any_state(&mut self) -> Result<()> {
        self.daemon = None;
        self.write_policy(SOUND_POLICY)?;
        self.uninstall()
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

    /// Waits until the daemon tells its service manager `state`, `STATUS=…` or `WATCHDOG=1` for
    /// example; `what` says what that means.
    ///
    /// # Errors
    ///
    /// If it ends instead, or takes too long.
    pub fn await_state(&mut self, state: &str, what: &str) -> Result<()> {
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
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        self.explain();
        if let Err(error) = self.remove_in_any_state() {
            eprintln!("{error:#}");
        }
    }
}
