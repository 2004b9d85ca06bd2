//! The daemon as a service manager sees it (`sd_notify(3)`, `systemd.service(5)`): what it says and
//! when, and what it is allowed to do once it runs.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::http::AttachMode;
use e2e::harness::{Gateway, READY_LIMIT, program, wait_for};
use lab::{Process, Signal, Site, Target, Topology};

const POLICY: &str = "
pools:
  - {name: team-a, addresses: [192.0.2.10]}
rules:
  - {name: out, sources: [10.1.0.0/24], pool: team-a}
";

/// What systemd would wait for a sign of life.
const WATCHDOG: Duration = Duration::from_millis(500);

const SOON: Duration = Duration::from_secs(5);

/// `CAP_NET_BIND_SERVICE`, `CAP_NET_ADMIN`, `CAP_NET_RAW` and `CAP_BPF`, as bits (`linux/capability.h`).
const KEPT: u64 = 1 << 10 | 1 << 12 | 1 << 13 | 1 << 39;
/// `CAP_PERFMON`, which only loading programs needs.
const PERFMON: u64 = 1 << 38;

fn site(test: &str) -> Result<Site> {
    let site = Topology::two_arm(&format!("systemd-{test}-{}", std::process::id()))
        .pods("10.1.0.0/24", ["a1"])
        .gateway("gw")
        .target(Target::guarded("db").http(80))
        .external(["192.0.2.10"])
        .build()?;
    Ok(site)
}

/// A service manager's end of the socket.
struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new(gateway: &Gateway) -> Result<Self> {
        let path = gateway.config_path().with_file_name("manager.sock");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        Ok(Self { path, socket })
    }

    /// Starts the daemon as a unit of `Type=notify-reload` with a watchdog.
    fn start(&self, gateway: &Gateway) -> Result<Process> {
        let mut command = Command::new(program("egretd")?);
        command.arg("--config").arg(gateway.config_path());
        command.env("NOTIFY_SOCKET", &self.path);
        command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(gateway.log_path())?;
        command.stderr(log).stdout(Stdio::null());
        Ok(gateway.host().spawn(command)?)
    }

    /// Waits for the next message with this line; the others are skipped.
    fn hear(&self, line: &str, limit: Duration) -> Result<String> {
        wait_for(limit, &format!("the daemon says {line}"), || {
            let message = self.next()?;
            Ok(message.filter(|it| it.lines().any(|found| found == line)))
        })
    }

    fn next(&self) -> Result<Option<String>> {
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Ok(Some(String::from_utf8(buffer[..length].to_vec())?)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error).context("cannot hear the daemon"),
        }
    }
}

#[test]
fn a_service_manager_hears_of_every_turn_in_the_daemons_life() -> Result<()> {
    let site = site("notify")?;
    let gateway = Gateway::prepare(site.host("gw")?, POLICY)?;
    let manager = Manager::new(&gateway)?;

    let began = Instant::now();
    let mut daemon = manager.start(&gateway)?;
    manager.hear("READY=1", READY_LIMIT)?;
    println!("ready {:?} after it was started", began.elapsed());
    let status = gateway.status()?;
    assert!(
        status.interfaces.iter().all(|it| it.attached),
        "ready before it serves"
    );
    assert!(
        site.host("a1")?
            .curl("http://198.51.100.11/")?
            .starts_with("192.0.2.10:")
    );

    let longest = signs_of_life(&manager, 8)?;
    println!("a sign of life at least every {longest:?}, within {WATCHDOG:?}");
    assert!(longest < WATCHDOG, "{longest:?}");

    daemon.signal(Signal::SIGHUP)?;
    let reloading = manager.hear("RELOADING=1", SOON)?;
    let micros = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="))
        .with_context(|| format!("without the time systemd does not believe it: {reloading}"))?;
    let now = monotonic_micros()?;
    let ago = now.saturating_sub(micros.parse()?);
    assert!(
        ago < SOON.as_micros() as u64,
        "{micros} is no time of this machine, which has {now}"
    );
    manager.hear("READY=1", SOON)?;

    // A configuration that is refused ends the reload all the same.
    gateway.write_config("nonsense\n")?;
    daemon.signal(Signal::SIGHUP)?;
    manager.hear("RELOADING=1", SOON)?;
    manager.hear("READY=1", SOON)?;
    assert!(gateway.status()?.config.last_error.is_some());
    gateway.write_policy(POLICY)?;

    daemon.signal(Signal::SIGTERM)?;
    manager.hear("STOPPING=1", SOON)?;
    let ended = daemon.wait(SOON)?.context("it ends")?;
    assert!(ended.success(), "{ended}");
    gateway.finish()
}

/// Counts signs of life and returns the longest time without one.
fn signs_of_life(manager: &Manager, count: usize) -> Result<Duration> {
    manager.hear("WATCHDOG=1", SOON)?;
    let mut last = Instant::now();
    let mut longest = Duration::ZERO;
    for _ in 0..count {
        manager.hear("WATCHDOG=1", SOON)?;
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    Ok(longest)
}

/// The clock that `MONOTONIC_USEC` is of, as the kernel tells it.
fn monotonic_micros() -> Result<u64> {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(time.tv_sec() as u64 * 1_000_000 + time.tv_nsec() as u64 / 1000)
}

#[test]
fn a_running_daemon_has_the_capabilities_that_it_needs_and_no_more() -> Result<()> {
    let site = site("caps")?;
    let gw = site.host("gw")?;
    let interfaces = "
interfaces:
  - {name: in0, realm: internal}
  - {name: out0, realm: external}
  - {name: late0, realm: external}
";
    let mut gateway = Gateway::prepare(gw, &format!("{interfaces}{POLICY}"))?;
    gateway.start()?;
    let pid = gateway.status()?.pid;
    // There may be IPv6 to load programs for.
    check_capabilities(pid, KEPT | PERFMON)?;

    // Everything that a daemon does later, it does with these: attach to what appears, reload,
    // set sysctls, sweep, detach.
    gw.ip("link add late0 type veth peer name late1")?;
    gw.ip("link set late1 up")?;
    gw.ip("link set late0 up")?;
    let late = wait_for(SOON, "the late interface is attached", || {
        let interfaces = gateway.status()?.interfaces;
        Ok(interfaces
            .into_iter()
            .find(|it| it.name == "late0" && it.attached))
    })?;
    assert_eq!(late.mode, Some(AttachMode::Native));
    let forwarding =
        gw.enter(|| fs::read_to_string("/proc/sys/net/ipv4/conf/late0/rp_filter"))??;
    assert_eq!(forwarding.trim(), "2", "its sysctls are set");
    assert!(
        site.host("a1")?
            .curl("http://198.51.100.11/")?
            .starts_with("192.0.2.10:")
    );

    gateway.write_policy(POLICY)?;
    gateway.reload()?;
    wait_for(SOON, "the late interface is detached", || {
        let link = gw.ip("-details link show dev late0")?;
        Ok((!link.contains("xdp")).then_some(()))
    })?;
    assert_eq!(gateway.status()?.config.last_error, None);
    let saved = gateway.egret(&[
        "apply",
        "--save",
        &gateway.config_path().display().to_string(),
    ])?;
    println!("{saved}");
    check_capabilities(pid, KEPT | PERFMON)?;

    // With all that any configuration can ask for, there is nothing left to be loaded.
    let secret = gw.directory().context("it is a gateway")?.join("secret");
    fs::write(&secret, "all members have it\n")?;
    gateway.write_policy(&format!(
        "{POLICY}cluster: {{name: west, self: gw1, secret_file: {}, members: [\
         {{name: gw1, address: 172.31.1.11}}, {{name: gw2, address: 172.31.1.12}}]}}\n\
         nat64: {{prefixes: ['64:ff9b::/96']}}\n\
         prefixes: [{{name: all, internal: 10.9.0.0/24, external: 198.18.9.0/24}}]\n",
        secret.display()
    ))?;
    gateway.reload()?;
    wait_for(SOON, "all programs are loaded", || {
        let loaded = gateway.log().contains("loaded more programs");
        Ok(loaded.then_some(()))
    })?;
    gateway.restart()?;
    check_capabilities(gateway.status()?.pid, KEPT)?;
    gateway.finish()
}

/// Every thread of the process has these capabilities and no way to get others; that of BFD never loads
/// programs.
fn check_capabilities(pid: u32, kept: u64) -> Result<()> {
    let mut threads = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        let kept = match status.starts_with("Name:\tbfd\n") {
            true => kept & !PERFMON,
            false => kept,
        };
        for (set, expected) in [
            ("CapEff", kept),
            ("CapPrm", kept),
            ("CapBnd", kept),
            ("CapInh", 0),
            ("CapAmb", 0),
        ] {
            let found = status
                .lines()
                .find_map(|line| line.strip_prefix(set)?.strip_prefix(":\t"));
            let found = u64::from_str_radix(found.context("a set of capabilities")?, 16)?;
            ensure!(found == expected, "{set} is {found:#x}, not {expected:#x}");
        }
        threads += 1;
    }
    println!("{threads} threads have the capabilities {kept:#x}, and nothing else");
    Ok(())
}
