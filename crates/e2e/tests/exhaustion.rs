//! An external address without a free port: who is refused, how everybody hears of it, and that the
//! first port that frees is given out again.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::http::{AddressState, FlowsQuery};
use e2e::harness::{Gateway, wait_for};
use e2e::leaks::Leaks;
use lab::{FlowSink, Flows, Generator, Host, Replies, Site, Target, Topology};

const EXTERNAL: &str = "192.0.2.10";

const DB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);

/// The clients' first address.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);

/// How long something may take that takes moments, or some sweeps.
const SOON: Duration = Duration::from_secs(20);

/// A site, a gateway with one external address, and what watches for packets that leave as they are.
struct Rig {
    site: Site,
    gateway: Gateway,
    leaks: Leaks,
}

impl Rig {
    fn new(test: &str, pool: &str, timeouts: &str) -> Result<Self> {
        let site = Topology::two_arm(&format!("full-{test}-{}", std::process::id()))
            .pods("10.1.0.0/24", ["a1"])
            .clients("a1", "10.2.0.0/16")
            .gateway("gw")
            .target(Target::open("db").http(80).stream(9000))
            .external([EXTERNAL])
            .build()?;
        let policy = format!(
            "
pools:
  - {{name: small, addresses: [{EXTERNAL}], ports: {pool}}}
rules:
  - {{name: out, sources: [10.0.0.0/8], destinations: [198.51.100.0/24], pool: small}}
timeouts: {{{timeouts}}}
"
        );
        let gateway = Gateway::launch(site.host("gw")?, &policy)?;
        let leaks = Leaks::watch(site.host("outside")?, "10.0.0.0/8")?;
        Ok(Self {
            site,
            gateway,
            leaks,
        })
    }

    fn pod(&self) -> Result<&Host> {
        Ok(self.site.host("a1")?)
    }

    fn refused(&self) -> Result<u64> {
        Ok(self.gateway.counter("ports_exhausted")?.packets)
    }

    /// Everybody who could hear of it has heard of it: counter, metric, `egret drops`, log.
    fn check_heard(&self) -> Result<()> {
        let refused = self.refused()?;
        let metric = self
            .gateway
            .metrics()?
            .lines()
            .find_map(|line| {
                let (sample, value) = line.rsplit_once(' ')?;
                sample
                    .contains("reason=\"ports_exhausted\"")
                    .then(|| (sample.to_owned(), value.to_owned()))
            })
            .context("no metric with the reason ports_exhausted")?;
        println!("{} {}; counted {refused}", metric.0, metric.1);
        assert_eq!(metric.1.parse::<f64>()? as u64, refused);
        let drops = self.gateway.egret(&["drops"])?;
        println!("{drops}");
        assert!(drops.contains("ports_exhausted"), "{drops}");
        assert!(drops.contains("no free port left"), "{drops}");
        wait_for(SOON, "the log says it", || {
            let log = self.gateway.log();
            let line = log.lines().find(|line| line.contains("ports_exhausted"));
            Ok(line.map(|line| println!("{line}")))
        })
    }

    fn check_nothing_leaked(&self) -> Result<()> {
        let leaked = self.leaks.packets()?;
        assert_eq!(
            leaked, 0,
            "{leaked} packets left under their clients' addresses"
        );
        Ok(())
    }
}

/// Sends until every flow of a range has arrived at the sink.
fn begin(generator: &mut Generator, sink: &FlowSink, flows: u64) -> Result<()> {
    generator.send(0..flows)?;
    wait_for(SOON, "every flow arrives", || {
        if sink.wait_for(flows, Duration::from_millis(300)) >= flows {
            return Ok(Some(()));
        }
        generator.send_each(sink.missing(0..flows))?;
        Ok(None)
    })
}

#[test]
fn sixty_four_ports_serve_sixty_four_endpoints_and_the_first_that_frees_serves_another()
-> Result<()> {
    const PORTS: u64 = 64;
    let rig = Rig::new("small", "1024-1087", "udp: 3s")?;
    let sink = FlowSink::start(rig.site.host("db")?, 53, Replies::None)?;
    let flows = Flows::udp(CLIENT, SocketAddrV4::new(DB, 53))
        .sources(13)
        .ports(5_000, 5);
    assert_eq!(flows.count(), PORTS + 1);
    let mut generator = Generator::new(rig.pod()?, flows)?;

    begin(&mut generator, &sink, PORTS)?;
    let address = rig.gateway.external(EXTERNAL)?;
    assert_eq!(
        (address.udp.used, address.udp.free),
        (PORTS as u32, 0),
        "{address:?}"
    );

    generator.send(PORTS..PORTS + 1)?;
    wait_for(SOON, "the one too many is refused", || {
        Ok((rig.refused()? > 0).then_some(()))
    })?;
    assert_eq!(sink.flows(), PORTS);
    assert_eq!(rig.gateway.count_flows()?, PORTS);
    let heard = sink.packets();
    generator.send(0..PORTS)?;
    wait_for(SOON, "those that have a port go on", || {
        Ok((sink.packets() >= heard + PORTS).then_some(()))
    })?;
    rig.check_heard()?;

    // One falls silent and the others go on: the one that waits gets exactly its port.
    let freed = sink.external_of(0).context("it arrived")?;
    let mut next = Instant::now();
    let silent_since = Instant::now();
    wait_for(SOON, "the one too many gets the port that frees", || {
        if Instant::now() >= next {
            generator.send(1..PORTS + 1)?;
            next = Instant::now() + Duration::from_millis(200);
        }
        Ok(sink.external_of(PORTS).map(drop))
    })?;
    println!(
        "the first port that freed was in use again {:?} after its flow fell silent, at a timeout of 3 s",
        silent_since.elapsed()
    );
    assert_eq!(sink.external_of(PORTS), Some(freed));
    assert_eq!(
        sink.moved().len(),
        0,
        "a flow that went on changed its port"
    );
    rig.check_nothing_leaked()?;
    rig.gateway.finish()
}

#[test]
fn all_ports_of_an_address_are_used_before_one_client_is_refused() -> Result<()> {
    const PORTS: u64 = 64_512;
    let rig = Rig::new("whole", "1024-65535", "udp: 10m")?;
    let sink = FlowSink::start(rig.site.host("db")?, 53, Replies::None)?;
    let flows = Flows::udp(CLIENT, SocketAddrV4::new(DB, 53))
        .sources(65)
        .ports(5_000, 1008);
    let mut generator = Generator::new(rig.pod()?, flows)?;

    let began = Instant::now();
    begin(&mut generator, &sink, PORTS)?;
    println!(
        "{PORTS} flows took every port of {EXTERNAL} in {:?}",
        began.elapsed()
    );
    let address = rig.gateway.external(EXTERNAL)?;
    assert_eq!(
        (address.udp.used, address.udp.free),
        (PORTS as u32, 0),
        "{address:?}"
    );
    assert_eq!(sink.externals(), PORTS);
    assert_eq!(rig.refused()?, 0, "refused before the last port was used");

    let began = Instant::now();
    generator.send(PORTS..flows.count())?;
    wait_for(SOON, "those too many are refused", || {
        Ok((rig.refused()? >= flows.count() - PORTS).then_some(()))
    })?;
    println!(
        "{} flows too many were refused in {:?}",
        rig.refused()?,
        began.elapsed()
    );
    assert_eq!(sink.flows(), PORTS);
    let heard = sink.packets();
    generator.send_each((0..PORTS).step_by(64))?;
    wait_for(SOON, "those that have a port go on", || {
        Ok((sink.packets() >= heard + PORTS / 64).then_some(()))
    })?;
    assert_eq!(sink.moved().len(), 0);
    rig.check_heard()?;
    rig.check_nothing_leaked()?;
    rig.gateway.finish()
}

/// With the kernel's own TCP: who finds no port is not told a lie, and is served when one frees.
#[test]
fn a_connection_that_found_no_port_is_served_when_another_ends() -> Result<()> {
    let rig = Rig::new("tcp", "2000-2003", "tcp_closing: 1s")?;
    let target = SocketAddrV4::new(DB, 9000);
    let connect = |limit| {
        rig.pod()?
            .enter(move || TcpStream::connect_timeout(&target.into(), limit))
            .context("cannot enter the pod")
    };

    let mut open: Vec<TcpStream> = (0..4).map(|_| Ok(connect(SOON)??)).collect::<Result<_>>()?;
    let address = rig.gateway.external(EXTERNAL)?;
    assert_eq!((address.tcp.used, address.tcp.free), (4, 0), "{address:?}");
    assert_eq!(address.state, AddressState::Serving);
    let refused = connect(SOON)?.expect_err("there is no fifth port");
    assert_eq!(refused.kind(), ErrorKind::HostUnreachable, "it is told");
    assert!(rig.refused()? >= 1);

    // Another protocol has ports of its own.
    assert!(rig.pod()?.ping(DB)?);
    drop(open.pop());
    let began = Instant::now();
    let fifth = wait_for(SOON, "the port serves another", || Ok(connect(SOON)?.ok()))?;
    println!(
        "connected {:?} after another connection was closed",
        began.elapsed()
    );
    for stream in open.iter().chain([&fifth]) {
        ensure!(stream.take_error()?.is_none(), "a connection was broken");
    }
    let established = rig.gateway.flows(&FlowsQuery {
        state: Some(api::http::FlowState::Established),
        ..FlowsQuery::default()
    })?;
    assert_eq!(established.matched, 4);
    rig.check_nothing_leaked()?;
    rig.gateway.finish()
}

/// With the kernel's own TCP: whose a segment is, only its remote tells.
#[test]
fn one_external_port_serves_connections_to_several_remotes() -> Result<()> {
    // Of so many, two at least are in different planes.
    const REMOTES: u16 = 24;
    let rig = Rig::new("shared", "2000, overload: on", "tcp_closing: 1s")?;
    let mut open = Vec::new();
    for port in 7000..7000 + REMOTES {
        let target = SocketAddrV4::new(DB, port);
        let db = rig.site.host("db")?;
        let listener = db.enter(move || TcpListener::bind(target))??;
        let connected = rig
            .pod()?
            .enter(move || TcpStream::connect_timeout(&target.into(), SOON))?;
        match connected {
            Ok(stream) => open.push((stream, listener.accept()?)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::HostUnreachable, "{error}"),
        }
    }
    println!(
        "one port serves connections to {} of {REMOTES} remotes",
        open.len()
    );
    ensure!(open.len() > 1, "no port is shared");
    for (number, (stream, (remote, seen))) in open.iter_mut().enumerate() {
        assert_eq!(seen.to_string(), format!("{EXTERNAL}:2000"));
        let (there, back) = ([number as u8; 1000], [!(number as u8); 1000]);
        stream.write_all(&there)?;
        remote.write_all(&back)?;
        let mut got = ([0; 1000], [0; 1000]);
        remote.read_exact(&mut got.0)?;
        stream.read_exact(&mut got.1)?;
        assert_eq!(got, (there, back));
    }
    let address = rig.gateway.external(EXTERNAL)?;
    assert_eq!(address.tcp.used, open.len() as u32, "{address:?}");

    // What was closed makes room for the same remote, although its port is held back.
    let (stream, (remote, _)) = open.pop().context("some are open")?;
    let target = remote.local_addr()?;
    drop((stream, remote));
    let listener = rig
        .site
        .host("db")?
        .enter(move || TcpListener::bind(target))??;
    wait_for(SOON, "the remote can be connected to again", || {
        let again = move || TcpStream::connect_timeout(&target, Duration::from_millis(300));
        Ok(rig.pod()?.enter(again)?.ok().map(drop))
    })?;
    drop(listener);
    rig.check_nothing_leaked()?;
    rig.gateway.finish()
}
