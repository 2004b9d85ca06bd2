//! `egret watch`, in lines and on a terminal.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use api::http::{
    ActiveFlows, ByProtocol, ConfigStatus, Drops, Pool, Pools, Program, Status, Sweep, Traffic,
};
use nix::{
    pty::{OpenptyResult, Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, tcgetattr},
    },
    unistd::Pid,
};

use crate::fake::{Fake, json};

/// Nothing here takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(20);

fn status() -> Status {
    Status {
        version: "9.9.9".to_owned(),
        build: None,
        pid: 1,
        started_at: String::new(),
        uptime_seconds: 60,
        adopted: false,
        config: ConfigStatus {
            source: "api".to_owned(),
            loaded_at: String::new(),
            digest: String::new(),
            saved: false,
            last_error: None,
        },
        interfaces: Vec::new(),
        flows: ActiveFlows::default(),
        pools: 1,
        rules: 1,
        sweep: Sweep::default(),
        program: Program {
            instructions: None,
            tag: String::new(),
        },
        notes: Vec::new(),
    }
}

/// A daemon whose pool sends a thousand packets between two looks at it, and which hangs up on the
/// `missed`th look.
fn busy(missed: Option<u64>) -> Fake {
    let looks = AtomicU64::new(0);
    Fake::answering(move |request| match request.line.as_str() {
        "GET /v1/status" if Some(looks.fetch_add(1, Ordering::Relaxed)) == missed => Vec::new(),
        "GET /v1/status" => json("200 OK", &status()),
        "GET /v1/pools" => json("200 OK", &pools(looks.load(Ordering::Relaxed) * 1000)),
        "GET /v1/drops" => json("200 OK", &Drops::default()),
        other => panic!("nobody should ask {other}"),
    })
}

fn pools(packets: u64) -> Pools {
    let traffic = Traffic {
        packets,
        bytes: packets * 100,
    };
    Pools {
        pools: vec![Pool {
            name: "team-a".to_owned(),
            draining: false,
            first_port: 1024,
            last_port: 65_535,
            addresses: Vec::new(),
            out: traffic,
            inward: traffic,
            new_flows_total: ByProtocol::default(),
        }],
    }
}

#[test]
fn elsewhere_than_on_a_terminal_there_is_a_line_for_each_interval() {
    let said = busy(None).run(&["watch", "--interval", "0.1", "--count", "3"]);

    assert_eq!(said.exit, Some(0), "{}", said.stderr);
    assert_eq!(said.stdout.lines().count(), 3);
    assert!(said.stdout.lines().all(|line| line.starts_with("out ")));
}

#[test]
fn json_is_an_object_for_each_interval() {
    let said = busy(None).run(&["watch", "--json", "--interval", "0.1", "--count", "2"]);

    assert_eq!(said.exit, Some(0), "{}", said.stderr);
    assert_eq!(said.stdout.lines().count(), 2);
    for line in said.stdout.lines() {
        let rates: serde_json::Value = serde_json::from_str(line).unwrap();
        let seconds = rates["interval_seconds"].as_f64().unwrap();
        let packets = rates["out"]["packets_per_second"].as_f64().unwrap();
        assert!((packets * seconds - 1000.0).abs() < 1e-6, "{line}");
    }
}

#[test]
fn a_daemon_that_restarts_is_waited_for() {
    let said = busy(Some(1)).run(&["watch", "--interval", "0.1", "--count", "3"]);

    assert_eq!(said.exit, Some(0), "{}", said.stderr);
    assert_eq!(said.stdout.lines().count(), 2);
    assert!(
        said.stderr.contains("did not finish its answer"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_daemon_that_was_never_there_is_an_error() {
    let said = busy(Some(0)).run(&["watch", "--interval", "0.1", "--count", "3"]);

    assert_eq!(said.exit, Some(3));
    assert_eq!(said.stdout, "");
}

#[test]
fn on_a_terminal_q_gives_the_screen_back() {
    let fake = busy(None);
    let mut terminal = Terminal::running(&fake, &["watch", "--interval", "0.1"]);
    terminal.wait_for("team-a");
    assert!(!terminal.is_usual(), "keys should come at once");

    terminal.keys.write_all(b"q").unwrap();

    assert_eq!(terminal.end(), Some(0));
    assert!(terminal.is_usual(), "the terminal is not as it was");
    terminal.wait_for("\u{1b}[?1049l");
}

#[test]
fn on_a_terminal_a_signal_gives_the_screen_back() {
    let fake = busy(None);
    let mut terminal = Terminal::running(&fake, &["watch"]);
    terminal.wait_for("team-a");

    let pid = i32::try_from(terminal.child.id()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();

    assert_eq!(terminal.end(), Some(0));
    assert!(terminal.is_usual(), "the terminal is not as it was");
}

#[test]
fn on_a_terminal_json_is_indented() {
    let fake = busy(None);
    let mut terminal = Terminal::running(&fake, &["pools", "--json"]);

    terminal.wait_for("{\r\n  \"pools\": [");

    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn on_a_terminal_there_are_colours_unless_they_are_unwanted() {
    let fake = busy(None);
    let mut coloured = Terminal::running(&fake, &["pools"]);
    coloured.wait_for("NEW-ICMP");
    assert!(coloured.shown.contains('\u{1b}'));

    let mut plain = fake.command(&["pools"]);
    plain.env("NO_COLOR", "1");
    let mut plain = Terminal::of(plain);
    plain.wait_for("NEW-ICMP");
    assert!(!plain.shown.contains('\u{1b}'));

    assert_eq!((coloured.end(), plain.end()), (Some(0), Some(0)));
}

/// A terminal with a command on it.
struct Terminal {
    child: Child,
    keys: File,
    /// The other end, held open so that its mode can be looked at.
    slave: OwnedFd,
    output: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn running(fake: &Fake, arguments: &[&str]) -> Self {
        Self::of(fake.command(arguments))
    }

    fn of(mut command: Command) -> Self {
        let size = Winsize {
            ws_row: 40,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let end = || slave.try_clone().unwrap();
        let child = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        // The command holds the terminal, and must not do so longer than its child.
        drop(command);

        let keys = File::from(master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            slave,
            output,
            shown: String::new(),
        }
    }

    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shown.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.shown += &String::from_utf8_lossy(&bytes),
                Err(_) => panic!("`{text}` was never shown; this was:\n{}", self.shown),
            }
        }
    }

    /// Whether keys are echoed and wait for the end of a line, as in a shell.
    fn is_usual(&self) -> bool {
        let flags = tcgetattr(&self.slave).unwrap().local_flags;
        flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }

    fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Only of use to a test that failed before the end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
