//! The session log of a real gateway: connections begin and end, the log says so everywhere it is
//! told to, and `egret who` names the client, also when the flow is long gone.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::http::{FlowsQuery, SessionState, Who};
use e2e::harness::{Gateway, wait_for};
use lab::{Direction, FlowSink, Flows, Generator, Replies, Site, Target, Topology, Transfer};
use serde_json::Value;

const EXTERNAL: &str = "192.0.2.10";

const DB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);

/// Where the target serves streams.
const STREAM: SocketAddrV4 = SocketAddrV4::new(DB, 9000);

/// How long something may take that takes some sweeps.
const SOON: Duration = Duration::from_secs(20);

/// How long a receiver may be kept waiting.
const HEARD: Duration = Duration::from_secs(10);

/// A site, and a gateway that ends flows quickly.
struct Rig {
    site: Site,
    gateway: Gateway,
}

impl Rig {
    /// Starts a gateway whose session log has these fields more than its file.
    fn new(test: &str, more: &str) -> Result<Self> {
        let site = Topology::two_arm(&format!("log-{test}-{}", std::process::id()))
            .pods("10.1.0.0/24", ["a1"])
            .clients("a1", "10.2.0.0/16")
            .gateway("gw")
            .target(Target::open("db").http(80).stream(9000))
            .external([EXTERNAL])
            .build()?;
        let host = site.host("gw")?;
        let directory = host.directory().context("the gateway has no directory")?;
        let file = log_file(directory);
        let gateway = Gateway::launch(host, &policy(&format!("file: {}, {more}", file.display())))?;
        Ok(Self { site, gateway })
    }

    fn file(&self) -> PathBuf {
        let config = self.gateway.config_path();
        log_file(config.parent().unwrap_or(&config))
    }

    /// The records of the file that is written to.
    fn records(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.file()).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("no record: {line}")))
            .collect()
    }

    /// Waits for the record of an event.
    fn record(&self, event: &str, client: &str) -> Result<Value> {
        wait_for(SOON, &format!("the log says that {client} {event}"), || {
            let is_it = |record: &Value| record["event"] == event && record["client"] == client;
            Ok(self.records()?.into_iter().find(is_it))
        })
    }

    /// Opens a connection, closes it, and waits until the log has both. Returns their records.
    fn connection(&self) -> Result<(Value, Value)> {
        let pod = self.site.host("a1")?;
        let transfer = Transfer::start(pod, STREAM, Direction::Download, Some(4 << 20))?;
        let client = transfer.local().to_string();
        let opened = self.record("opened", &client)?;
        let who = self.who(&[opened["external"].as_str().unwrap_or_default()], "tcp")?;
        ensure!(
            who.sessions.len() == 1 && who.sessions[0].state == SessionState::Open,
            "while it is open: {who:#?}"
        );
        transfer.finish()?;
        let closed = self.record("closed", &client)?;
        Ok((opened, closed))
    }

    fn who(&self, arguments: &[&str], protocol: &str) -> Result<Who> {
        let [endpoint, times @ ..] = arguments else {
            anyhow::bail!("whose?");
        };
        let endpoint = format!("{endpoint}/{protocol}");
        let arguments: Vec<&str> = ["who", &endpoint]
            .into_iter()
            .chain(times.iter().copied())
            .collect();
        self.gateway.egret_json(&arguments)
    }
}

fn log_file(directory: &Path) -> PathBuf {
    directory.join("log/sessions.jsonl")
}

fn policy(log: &str) -> String {
    format!(
        "
pools:
  - {{name: team-a, addresses: [{EXTERNAL}]}}
rules:
  - {{name: out, sources: [10.0.0.0/8], destinations: [198.51.100.0/24], pool: team-a}}
timeouts: {{tcp_opening: 2s, tcp_closing: 2s, udp: 2s}}
log: {{sessions: {{{log}}}}}
"
    )
}

#[test]
fn a_connection_is_logged_and_its_client_is_found_when_it_is_gone_and_the_daemon_another()
-> Result<()> {
    let mut rig = Rig::new("who", "rotate: {size: 1MiB}")?;

    let (opened, closed) = rig.connection()?;

    println!("{opened}\n{closed}");
    for field in ["client", "external", "remote", "protocol", "pool"] {
        assert_eq!(opened[field], closed[field], "{field}");
    }
    assert_eq!(opened["remote"], format!("{DB}:9000"));
    assert_eq!(opened["pool"], "team-a");
    assert_eq!(closed["reason"], "finished");
    assert!(closed["bytes_in"].as_u64() > closed["bytes_out"].as_u64());

    // It began at the first packet and ended when its port was free: in between it is found.
    let external = opened["external"].as_str().context("no endpoint")?;
    let at = opened["time"].as_str().context("no time")?;
    let ask = |rig: &Rig| rig.who(&[external, "--at", at], "tcp");
    let found = ask(&rig)?;
    assert_eq!(found.sessions.len(), 1, "{found:#?}");
    let session = &found.sessions[0];
    assert_eq!(session.client.to_string(), opened["client"]);
    assert_eq!(session.state, SessionState::Closed);
    assert_eq!(session.reason.as_deref(), Some("finished"));
    let shown = rig
        .gateway
        .egret(&["who", &format!("{external}/tcp"), "--at", at])?;
    println!("{shown}");
    assert!(shown.contains(opened["client"].as_str().context("no client")?));

    // Nobody has it now, and nobody had it before.
    assert_eq!(rig.who(&[external], "tcp")?.sessions, []);
    let before = rig.who(&[external, "--at", "2020-01-01T00:00:00Z"], "tcp")?;
    assert_eq!(before.sessions, []);
    assert!(
        before.notes.iter().any(|note| note.contains("begins at")),
        "{before:#?}"
    );
    assert_eq!(rig.who(&[external, "--at", at], "udp")?.sessions, []);

    rig.gateway.restart()?;
    assert_eq!(ask(&rig)?.sessions, found.sessions);
    rig.gateway.kill()?;
    rig.gateway.start()?;
    assert_eq!(ask(&rig)?.sessions, found.sessions);
    rig.gateway.finish()
}

#[test]
fn flows_that_begin_and_end_without_a_daemon_are_in_the_log_of_the_next() -> Result<()> {
    let mut rig = Rig::new("dead", "")?;
    let sink = FlowSink::start(rig.site.host("db")?, 53, Replies::None)?;
    let flows = Flows::udp(Ipv4Addr::new(10, 2, 0, 1), SocketAddrV4::new(DB, 53)).sources(20);
    let mut generator = Generator::new(rig.site.host("a1")?, flows)?;
    rig.gateway.kill()?;

    generator.send(0..20)?;
    ensure!(sink.wait_for(20, SOON) == 20, "flows were lost");
    rig.gateway.start()?;

    let of = |event: &str| -> Result<usize> {
        let records = rig.records()?;
        Ok(records.iter().filter(|it| it["event"] == event).count())
    };
    wait_for(SOON, "the log has every end", || {
        Ok((of("closed")? == 20).then_some(()))
    })?;
    assert_eq!(of("opened")?, 20, "the ring kept what nobody read");
    let records = rig.records()?;
    let closed = records.iter().find(|it| it["event"] == "closed");
    assert_eq!(closed.context("no end")?["reason"], "idle");
    assert_eq!(rig.gateway.metric("egret_session_events_lost_total")?, 0.0);
    let written = "egret_session_records_total{sink=\"file\",event=\"closed\"}";
    assert_eq!(rig.gateway.metric(written)?, 20.0);
    rig.gateway.finish()
}

#[test]
fn receivers_hear_what_the_file_says_and_a_reload_brings_them_and_takes_them_away() -> Result<()> {
    let mut rig = Rig::new("sinks", "")?;
    let directory = rig.file().with_file_name("syslog.sock");
    let syslog = UnixDatagram::bind(&directory)?;
    syslog.set_read_timeout(Some(HEARD))?;
    let gateway = rig.site.host("gw")?;
    let collector = gateway.enter(|| UdpSocket::bind("127.0.0.1:0"))??;
    collector.set_read_timeout(Some(HEARD))?;
    let file = rig.file();
    let both = policy(&format!(
        "file: {}, syslog: 'unix://{}', ipfix: {{collector: '{}', domain: 7}}",
        file.display(),
        directory.display(),
        collector.local_addr()?
    ));
    let applied = rig.gateway.apply(&both)?;
    println!("{:?}", applied.changes);
    assert_eq!(applied.changes.len(), 2, "{:?}", applied.changes);

    let (opened, closed) = rig.connection()?;

    for record in [&opened, &closed] {
        let mut buffer = [0; 4096];
        let count = syslog.recv(&mut buffer)?;
        let message = String::from_utf8_lossy(&buffer[..count]).into_owned();
        println!("{message}");
        for field in ["event", "client", "external"] {
            let said = format!("{field}={}", record[field]);
            assert!(message.contains(&said), "{message}");
        }
        let count = collector.recv(&mut buffer)?;
        let message = &buffer[..count];
        assert_eq!(message[..2], [0, 10]);
        assert_eq!(message[12..16], [0, 0, 0, 7]);
        let client = [10, 1, 0, 11];
        assert!(
            message.windows(4).any(|bytes| bytes == client),
            "{message:?}"
        );
    }

    rig.gateway.reload()?;
    let (opened, _) = rig.connection()?;
    println!("{opened}");
    syslog.set_nonblocking(true)?;
    assert!(
        syslog.recv(&mut [0; 16]).is_err(),
        "the receiver is told still"
    );
    rig.gateway.finish()
}

#[test]
fn without_a_log_nothing_is_written_and_open_flows_are_found_all_the_same() -> Result<()> {
    let rig = Rig::new("none", "")?;
    let without = policy("").replace("log: {sessions: {}}\n", "");
    rig.gateway.apply(&without)?;
    let pod = rig.site.host("a1")?;
    let transfer = Transfer::start(pod, STREAM, Direction::Upload, Some(1 << 20))?;
    let flow = rig.gateway.only_flow(&FlowsQuery {
        client: Some(transfer.local().to_string()),
        ..FlowsQuery::default()
    })?;

    let who = rig.who(&[&flow.external.to_string()], "tcp")?;

    assert_eq!(who.sessions.len(), 1, "{who:#?}");
    assert_eq!(
        who.sessions[0].client.to_string(),
        transfer.local().to_string()
    );
    assert!(who.notes[0].contains("log.sessions.file"), "{who:#?}");
    transfer.finish()?;
    assert_eq!(rig.records()?, Vec::<Value>::new());
    rig.gateway.finish()
}

/// The same policy, with blocks of ports for some clients.
fn with_blocks(log: &str, external: &str, clients: &str) -> String {
    let addresses = format!("addresses: [{EXTERNAL}]");
    let blocks = format!("addresses: [{external}], blocks: {{clients: [{clients}], size: 512}}");
    policy(log).replace(&addresses, &blocks)
}

#[test]
fn a_client_with_a_block_of_ports_is_found_without_records_of_its_flows() -> Result<()> {
    let mut rig = Rig::new("blocks", "")?;
    let log = format!("file: {}", rig.file().display());
    let applied = rig
        .gateway
        .apply(&with_blocks(&log, EXTERNAL, "10.1.0.0/26"))?;
    println!("{:?}", applied.changes);
    let spared = |event: &str| {
        let sample = format!("egret_session_records_spared_total{{event=\"{event}\"}}");
        rig.gateway.metric(&sample)
    };
    let connect = || -> Result<(SocketAddr, String)> {
        let pod = rig.site.host("a1")?;
        let transfer = Transfer::start(pod, STREAM, Direction::Download, Some(1 << 20))?;
        let only = FlowsQuery {
            client: Some(transfer.local().to_string()),
            ..FlowsQuery::default()
        };
        let external = rig.gateway.only_flow(&only)?.external.to_string();
        let client = transfer.local();
        transfer.finish()?;
        Ok((client, external))
    };
    // The packet path's clock ticks once a second: the end of a flow that began in the second of the
    // change is written, because it may be from before.
    wait_for(SOON, "the end of a flow is not written", || {
        connect().map(|_| ())?;
        Ok((spared("closed")? >= 1.0).then_some(()))
    })?;
    let (client, external) = connect()?;
    let (opened, closed) = (spared("opened")?, spared("closed")?);
    println!("spared: {opened} opened, {closed} closed");
    wait_for(SOON, "all flows have ended", || {
        let flows = rig.gateway.flows(&FlowsQuery::default())?;
        Ok(flows.flows.is_empty().then_some(()))
    })?;
    let endpoint = format!("{external}/tcp");

    let who = rig.who(&[&external], "tcp")?;
    println!("{}", rig.gateway.egret(&["who", &endpoint])?);
    assert_eq!(who.sessions, []);
    assert_eq!(who.blocks.len(), 1, "{who:#?}");
    assert_eq!(who.blocks[0].client.to_string(), client.ip().to_string());
    let ports = who.blocks[0].first..=who.blocks[0].last;
    assert!(ports.contains(&who.external.port), "{who:#?}");
    let records = rig.records()?;
    let is_its = |it: &&Value| it["client"] == client.to_string();
    assert_eq!(records.iter().find(is_its), None);
    let blocks = records.iter().filter(|it| it["event"] == "blocks");
    assert_eq!(blocks.count(), 1, "{records:?}");

    // Who has it later is answered by the configuration of the time that is asked about.
    let then = who.until.clone();
    let other = with_blocks(&log, EXTERNAL, "10.3.0.0/26");
    rig.gateway.apply(&other)?;
    let now = rig.who(&[&external], "tcp")?;
    assert!(now.blocks[0].client.to_string().starts_with("10.3.0."));
    // The file that the gateway starts from has no blocks.
    rig.gateway.restart()?;
    assert_eq!(rig.who(&[&external], "tcp")?.blocks, []);
    let before = rig.who(&[&external, "--at", &then], "tcp")?;
    assert_eq!(before.blocks, who.blocks);
    rig.gateway.finish()
}

/// A hundred thousand flows of two hundred clients, without blocks and with.
#[test]
fn blocks_leave_a_hundred_thousand_flows_out_of_the_log() -> Result<()> {
    const FLOWS: u64 = 100_000;
    const CLIENTS: u32 = 200;
    const TWO: &str = "192.0.2.10, 192.0.2.11";
    let site = Topology::two_arm(&format!("log-ratio-{}", std::process::id()))
        .pods("10.1.0.0/24", ["a1"])
        .clients("a1", "10.2.0.0/16")
        .gateway("gw")
        .target(Target::guarded("db"))
        .external(["192.0.2.10", "192.0.2.11"])
        .build()?;
    let host = site.host("gw")?;
    let directory = host.directory().context("the gateway has no directory")?;
    let mut written = Vec::new();
    for blocks in [false, true] {
        let file = directory.join(format!("log-{blocks}/sessions.jsonl"));
        let log = format!("file: {}, rotate: {{size: 1GiB}}", file.display());
        let text = match blocks {
            false => policy(&log).replace(EXTERNAL, TWO),
            true => with_blocks(&log, TWO, "10.2.0.0/25, 10.2.0.128/26, 10.2.0.192/29"),
        };
        let gateway = Gateway::launch(host, &text)?;
        let sink = FlowSink::start(site.host("db")?, 53, Replies::None)?;
        let flows = Flows::udp(Ipv4Addr::new(10, 2, 0, 0), SocketAddrV4::new(DB, 53));
        let flows = flows
            .sources(CLIENTS)
            .ports(10_000, (FLOWS / u64::from(CLIENTS)) as u16);
        let mut generator = Generator::new(site.host("a1")?, flows)?;
        let spared = "egret_session_records_spared_total{event=\"closed\"}";
        // See above: from when on ends are not written.
        wait_for(SOON, "the end of a flow is not written", || {
            generator.send(0..1)?;
            wait_for(SOON, "the flow ends", || {
                Ok((gateway.count_flows()? == 0).then_some(()))
            })?;
            Ok((!blocks || gateway.metric(spared)? >= 1.0).then_some(()))
        })?;
        generator.send(0..FLOWS)?;
        wait_for(6 * SOON, "every flow arrives", || {
            if sink.wait_for(FLOWS, Duration::from_millis(500)) == FLOWS {
                return Ok(Some(()));
            }
            generator.send_each(sink.missing(0..FLOWS))?;
            Ok(None)
        })?;
        wait_for(6 * SOON, "every flow ends", || {
            Ok((gateway.count_flows()? == 0).then_some(()))
        })?;
        gateway.finish()?;
        let text = fs::read_to_string(&file)?;
        written.push((text.lines().count(), text.len()));
    }
    println!("{FLOWS} flows, records and bytes without blocks and with: {written:?}");
    let [(all, without), (few, with)] = written[..] else {
        anyhow::bail!("two gateways");
    };
    assert!(few * 1000 < all, "{few} and {all} records");
    assert!(with * 1000 < without, "{with} and {without} bytes");
    Ok(())
}

/// The disk is full, and then it is not.
#[test]
fn a_full_disk_loses_records_by_count_and_never_a_packet() -> Result<()> {
    let rig = Rig::new("full", "")?;
    let mount = rig.file().with_file_name("small");
    fs::create_dir_all(&mount)?;
    let _small = Small::mount(&mount)?;
    let filler = mount.join("filler");
    let log = policy(&format!("file: {}", mount.join("sessions.jsonl").display()));
    rig.gateway.apply(&log)?;
    let lost = || {
        let sample = "egret_session_records_lost_total{sink=\"file\",loss=\"write\"}";
        rig.gateway.metric(sample)
    };
    wait_for(SOON, "the log is open", || {
        Ok(mount.join("sessions.jsonl").exists().then_some(()))
    })?;
    // To the last page.
    let mut full = fs::File::create(&filler)?;
    while std::io::Write::write_all(&mut full, &[0; 4096]).is_ok() {}

    let seen = rig.site.host("a1")?.curl(&format!("http://{DB}/"))?;

    assert!(seen.starts_with(EXTERNAL), "{seen}");
    wait_for(SOON, "lost records are counted", || {
        Ok((lost()? >= 2.0).then_some(()))
    })?;
    assert!(
        rig.gateway.log().contains("No space left"),
        "{}",
        rig.gateway.log()
    );
    drop(full);
    fs::remove_file(&filler)?;
    rig.site.host("a1")?.curl(&format!("http://{DB}/"))?;
    wait_for(SOON, "the log goes on", || {
        let text = fs::read_to_string(mount.join("sessions.jsonl"))?;
        let is_whole = text.is_empty() || text.ends_with('\n');
        ensure!(is_whole, "a piece of a record was left: {text}");
        Ok(text.contains("\"closed\"").then_some(()))
    })?;
    rig.gateway
        .apply(&policy(&format!("file: {}", rig.file().display())))?;
    rig.gateway.finish()
}

/// A file system with little room.
struct Small(PathBuf);

impl Small {
    fn mount(path: &Path) -> Result<Self> {
        let options = ["-t", "tmpfs", "-o", "size=64k", "small"];
        let done = Command::new("mount").args(options).arg(path).status()?;
        ensure!(done.success(), "cannot mount {}", path.display());
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
