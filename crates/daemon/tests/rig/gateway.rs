//! A real `egretd`, with tables of its own.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind},
    net::{SocketAddr, TcpListener},
    os::unix::net::{UnixDatagram, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use api::http::{ApplyRequest, Status};
use kernel::{State, Tables};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::de::DeserializeOwned;

use super::client::{Answer, Request};

/// Where daemons of tests have their files, in a folder each.
const ROOT: &str = "/run/egret-daemon-tests";
/// How long a daemon may take to say something. The verifier alone takes a second on a slow core.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How often it is asked for what it does not say by itself.
const POLL: Duration = Duration::from_millis(20);

/// What the daemon of a test is told. It names interfaces that nobody has.
pub const CONFIG: &str = "\
interfaces:
  - {name: egret-test-in, realm: internal}
  - {name: egret-test-out, realm: external}
pools:
  - {name: team-a, addresses: [192.0.2.10, 192.0.2.11]}
  - {name: team-b, addresses: [192.0.2.20], ports: 20000-29999}
rules:
  - {name: a, sources: [10.1.0.0/16], pool: team-a}
  - {name: b, sources: [10.2.0.0/16], pool: team-b}
limits: {flows: 65536}
";

/// A daemon that runs as long as this value.
pub struct Gateway {
    directory: PathBuf,
    daemon: Child,
    notify: UnixDatagram,
    /// Where it serves its metrics.
    pub metrics: SocketAddr,
    /// Its tables.
    pub tables: Tables,
}

impl Gateway {
    /// Starts a daemon with [`CONFIG`]; it serves when this returns.
    pub fn start() -> Self {
        Self::start_with(CONFIG)
    }

    /// Starts a daemon with another configuration.
    pub fn start_with(text: &str) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "run this as root: `sudo -E cargo xtask test`"
        );
        sweep();
        let directory = Path::new(ROOT).join(format!("{}-{}", std::process::id(), number()));
        fs::create_dir_all(&directory).unwrap();
        let metrics = free_address();
        fs::write(
            directory.join("gateway.yaml"),
            config(text, &directory, metrics),
        )
        .unwrap();
        let notify = UnixDatagram::bind(directory.join("notify.sock")).unwrap();
        notify.set_read_timeout(Some(POLL)).unwrap();

        let (daemon, tables) = launched(&directory, &notify);
        Self {
            directory,
            daemon,
            notify,
            metrics,
            tables,
        }
    }

    /// Ends the daemon and starts another over its tables, with another configuration.
    pub fn restart_with(&mut self, text: &str) {
        assert!(self.stop().success());
        fs::write(self.file(), self.config(text)).unwrap();
        (self.daemon, self.tables) = launched(&self.directory, &self.notify);
    }

    /// A connection to the API.
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(SILENCE_MAX)).unwrap();
        stream
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("egret.sock")
    }

    /// Asks the API.
    pub fn ask(&self, request: &Request) -> Answer {
        request.ask(self.connect())
    }

    /// Asks for what stands under a path, which must be there and of this type.
    #[track_caller]
    pub fn get<T: DeserializeOwned>(&self, target: &str) -> T {
        let answer = self.ask(&Request::get(target));
        assert_eq!(answer.status, 200, "GET {target}: {}", answer.text());
        answer.json()
    }

    /// Waits until the daemon is as it should be; it says so anew after each sweep.
    #[track_caller]
    pub fn await_status(&self, is_there: impl Fn(&Status) -> bool) {
        let end = Instant::now() + SILENCE_MAX;
        while !is_there(&self.get(api::http::path::STATUS)) {
            assert!(Instant::now() < end, "it does not come to that");
            std::thread::sleep(POLL);
        }
    }

    /// Asks for a configuration, with where this daemon's files are.
    pub fn apply(&self, text: &str, change: impl FnOnce(&mut ApplyRequest)) -> Answer {
        let mut request = ApplyRequest {
            file: "test.yaml".to_owned(),
            text: self.config(text),
            dry_run: false,
            save: false,
        };
        change(&mut request);
        let body = serde_json::to_vec(&request).unwrap();
        self.ask(&Request::post(api::http::path::CONFIG, body))
    }

    /// A configuration with where this daemon's files are.
    pub fn config(&self, text: &str) -> String {
        config(text, &self.directory, self.metrics)
    }

    /// The configuration's file.
    pub fn file(&self) -> PathBuf {
        self.directory.join("gateway.yaml")
    }

    /// Tells the daemon to read its file again; it has when this returns.
    pub fn reload(&self) {
        self.signal(Signal::SIGHUP);
        await_state(&self.notify, "RELOADING=1", || false);
        await_state(&self.notify, "READY=1", || false);
    }

    /// Tells the daemon to end; returns how it did.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let end = Instant::now() + SILENCE_MAX;
        loop {
            if let Some(status) = self.daemon.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(POLL);
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.daemon.id().cast_signed()), signal).unwrap();
    }
}

/// Starts a daemon in its directory; it serves when this returns.
fn launched(directory: &Path, notify: &UnixDatagram) -> (Child, Tables) {
    // It ends with this test, even if the test is killed.
    let mut daemon = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            env!("CARGO_BIN_EXE_egretd"),
            "--config",
        ])
        .arg(directory.join("gateway.yaml"))
        .env("NOTIFY_SOCKET", directory.join("notify.sock"))
        .env("EGRET_LOG", "debug")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // So that it is shown only if the test fails.
    let log = BufReader::new(daemon.stderr.take().unwrap());
    std::thread::spawn(move || {
        log.lines()
            .map_while(Result::ok)
            .for_each(|line| println!("egretd: {line}"));
    });
    let has_ended = || daemon.try_wait().unwrap().is_some();
    await_state(notify, "READY=1", has_ended);
    // Beside the daemon, which is alone to hold the state.
    let maps = directory.join(format!("bpf/layout-{}/maps", abi::LAYOUT));
    (daemon, Tables::open(&maps).unwrap())
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        remove(&self.directory);
    }
}

fn config(text: &str, directory: &Path, metrics: SocketAddr) -> String {
    let directory = directory.display();
    format!(
        "{text}api: {{socket: {directory}/egret.sock}}\nmetrics: {{listen: \"{metrics}\"}}\n\
         state: {directory}/bpf\n"
    )
}

/// Reads what the daemon tells its service manager, until it says this, or `has_ended`.
fn await_state(notify: &UnixDatagram, state: &str, mut has_ended: impl FnMut() -> bool) {
    let end = Instant::now() + SILENCE_MAX;
    let mut buffer = [0; 4096];
    loop {
        let length = match notify.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("what the daemon says cannot be read: {error}"),
        };
        let said = String::from_utf8_lossy(&buffer[..length]);
        if said.lines().any(|line| line == state) {
            return;
        }
        assert!(
            length > 0 || !has_ended(),
            "the daemon ended and never said {state}"
        );
        assert!(Instant::now() < end, "the daemon does not say {state}");
    }
}

/// An address that nobody listens on.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Numbers the daemons of this process.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Relaxed)
}

/// Removes what tests that were killed have left.
fn sweep() {
    for entry in fs::read_dir(ROOT).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            remove(&entry.path());
        }
    }
}

fn remove(directory: &Path) {
    if let Err(error) = State::remove(&directory.join("bpf")) {
        println!("cannot remove what the daemon pinned: {error}");
    }
    let _ = fs::remove_dir_all(directory);
}
