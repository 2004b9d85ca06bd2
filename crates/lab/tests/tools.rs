//! The instruments: programs in hosts, transfers, the generator and its sink.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{
    Capture, Direct, Direction, FlowSink, Flows, Frame, Generator, Plan, Received, Replies, Signal,
    Site, Topology, Transfer,
};

use crate::{demo, name};

const SECOND: Duration = Duration::from_secs(1);

const SINK: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);

#[test]
fn a_host_is_entered_by_one_thread_and_nobody_else() -> Result<()> {
    let site = demo(Topology::two_arm(&name("enter"))).build()?;
    let namespace = || std::fs::read_link("/proc/thread-self/ns/net");
    let before = namespace()?;

    let inside = site.host("a1")?.enter(namespace)??;
    let listener = site
        .host("a1")?
        .enter(|| TcpListener::bind("10.1.0.11:7000"))??;

    assert_ne!(inside, before);
    assert_eq!(namespace()?, before);
    assert_eq!(listener.local_addr()?.to_string(), "10.1.0.11:7000");
    Ok(())
}

#[test]
fn a_program_in_a_gateway_sees_the_same_bpffs_as_everybody() -> Result<()> {
    let site = demo(Topology::two_arm(&name("bpffs"))).build()?;
    let gateway = site.host("gw")?;
    let bpffs = gateway.bpffs().context("a gateway has a bpffs")?;

    std::fs::create_dir(bpffs.join("made-outside"))?;
    let path = bpffs.display().to_string();
    let seen = gateway.succeed("ls", [path.as_str()])?;
    gateway.succeed("mkdir", [format!("{path}/made-inside").as_str()])?;
    let kind = gateway.succeed("stat", ["-f", "-c", "%T", &path])?;

    assert!(seen.contains("made-outside"), "{seen}");
    assert!(bpffs.join("made-inside").is_dir());
    assert_eq!(kind, "bpf_fs\n");
    Ok(())
}

#[test]
fn a_program_is_signalled_waited_for_and_killed() -> Result<()> {
    let site = demo(Topology::two_arm(&name("process"))).build()?;
    let pod = site.host("a1")?;
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "trap 'exit 7' HUP; echo up; while :; do sleep 0.01; done",
    ]);
    shell.stdout(Stdio::piped());

    let mut process = pod.spawn(shell)?;
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(process.stdout().context("piped")?),
        &mut line,
    )?;
    process.signal(Signal::SIGHUP)?;

    assert_eq!(
        process.wait(30 * SECOND)?.and_then(|status| status.code()),
        Some(7)
    );
    process.signal(Signal::SIGTERM)?;
    let error = pod.spawn(Command::new("no-such-program")).unwrap_err();
    assert!(error.to_string().contains("no-such-program"), "{error}");
    let error = pod.succeed("ip", ["route", "get", "nowhere"]).unwrap_err();
    assert!(
        error.to_string().contains("ip route get nowhere"),
        "{error}"
    );
    Ok(())
}

fn transfer(
    site: &Site,
    direction: Direction,
    during: impl FnOnce(&Transfer) -> Result<()>,
) -> Result<Received> {
    let target = SocketAddrV4::new(site.host("api")?.address()?, 9000);
    let transfer = Transfer::start(site.host("a1")?, target, direction, Some(8 << 20))?;
    lab::until(5 * SECOND, || (transfer.bytes() > 1 << 20).then_some(()))
        .context("the transfer does not move")?;
    during(&transfer)?;
    let bytes = transfer.bytes();
    lab::until(5 * SECOND, || (transfer.bytes() > bytes).then_some(()))
        .context("the transfer does not go on")?;
    Ok(transfer.finish()?)
}

#[test]
fn a_transfer_is_verified_in_both_directions() -> Result<()> {
    let site = demo(Topology::two_arm(&name("transfer"))).build()?;

    for direction in [Direction::Download, Direction::Upload] {
        let received = transfer(&site, direction, |_| Ok(()))?;

        println!("{direction:?}: {received:?}");
        assert!(received.bytes > 1 << 20, "{received:?}");
        assert_eq!(received.wrong_at, None);
        let rate = received.bytes as f64 / received.elapsed.as_secs_f64();
        assert!(
            rate < 12e6,
            "a paced transfer went at {rate} bytes a second"
        );
    }
    Ok(())
}

#[test]
fn a_transfer_notices_when_nothing_comes() -> Result<()> {
    let site = demo(Topology::two_arm(&name("stall"))).build()?;
    let gateway = site.host("gw")?;
    let pause = Duration::from_millis(400);

    for direction in [Direction::Download, Direction::Upload] {
        let received = transfer(&site, direction, |_| {
            gateway.ip("link set out0 down")?;
            std::thread::sleep(pause);
            gateway.ip("link set out0 up")?;
            // Routes through an interface go with it.
            gateway.ip("route add default via 172.31.2.1")?;
            Ok(())
        })?;

        println!("{direction:?}: {received:?}");
        assert_eq!(received.wrong_at, None);
        assert!(received.longest_stall >= pause, "{received:?}");
    }
    Ok(())
}

#[test]
fn a_transfer_that_is_broken_off_says_so() -> Result<()> {
    let site = demo(Topology::two_arm(&name("broken"))).build()?;
    let target = SocketAddrV4::new(site.host("api")?.address()?, 9000);
    let transfer = Transfer::start(site.host("a1")?, target, Direction::Download, Some(1 << 20))?;
    lab::until(5 * SECOND, || (transfer.bytes() > 0).then_some(())).context("does not move")?;

    site.host("api")?.nft(
        "table ip broken { chain input { type filter hook input priority 0;
            tcp dport 9000 reject with tcp reset; }; }",
    )?;

    lab::until(5 * SECOND, || transfer.has_failed().then_some(())).context("it goes on")?;
    assert!(transfer.finish().is_err());
    Ok(())
}

#[test]
fn a_generator_makes_distinct_flows_and_the_sink_tells_them_apart() -> Result<()> {
    let site = Direct::new(&name("flows")).clients("10.2.0.0/16").build()?;
    let sink = FlowSink::start(site.host("sink")?, 53, Replies::None)?;
    let target = SocketAddrV4::new(SINK, 53);
    let flows = Flows::udp(Ipv4Addr::new(10, 2, 0, 1), target)
        .sources(4)
        .ports(1024, 10_000);
    let mut generator = Generator::new(site.host("generator")?, flows)?;

    let sent = generator.send(0..flows.count())?;
    // What a full queue has dropped is sent again, as a client would.
    for _ in 0..10 {
        if sink.wait_for(flows.count(), SECOND) == flows.count() {
            break;
        }
        generator.send_each(sink.missing(0..flows.count()))?;
    }

    println!("{} packets in {:?}", sent.packets, sent.elapsed);
    assert_eq!(sink.flows(), 40_000);
    assert_eq!(sink.externals(), 40_000);
    assert_eq!(sink.addresses().len(), 4);
    assert_eq!(sink.external_of(5), Some(flows.source(5)));
    assert!(sink.moved().is_empty());
    assert_eq!(sink.missing(0..flows.count() + 1), [flows.count()]);
    Ok(())
}

#[test]
fn a_generator_resolves_its_next_hop_and_its_syn_are_answered() -> Result<()> {
    let site = demo(Topology::two_arm(&name("syn"))).build()?;
    let pod = site.host("a1")?;
    let mut capture = Capture::open(pod, "eth0")?;
    let flows = Flows::syn(
        pod.address()?,
        SocketAddrV4::new(site.host("api")?.address()?, 80),
    );
    let mut generator = Generator::new(pod, flows)?;

    generator.send(0..1)?;

    let answer = capture.find(2 * SECOND, |frame| {
        let parsed = etherparse::SlicedPacket::from_ethernet(frame).ok()?;
        let Some(etherparse::TransportSlice::Tcp(tcp)) = parsed.transport else {
            return None;
        };
        (tcp.destination_port() == 1024).then(|| (tcp.syn(), tcp.ack()))
    })?;
    assert_eq!(answer, Some((true, true)));
    Ok(())
}

#[test]
fn a_next_hop_that_does_not_answer_is_named() -> Result<()> {
    let mut plan = Plan::new(&name("deaf"));
    plan.link(("a", "eth0"), ("b", "eth0"));
    plan.host("a")
        .address("eth0", "10.0.0.1/24")
        .route("default via 10.0.0.9");
    let site = plan.build()?;

    let flows = Flows::udp(Ipv4Addr::new(10, 0, 0, 1), SocketAddrV4::new(SINK, 53));
    let error = Generator::new(site.host("a")?, flows)
        .err()
        .context("it was resolved")?;

    assert!(
        error.to_string().contains("10.0.0.9 does not answer ARP"),
        "{error}"
    );
    Ok(())
}

#[test]
fn an_echoing_sink_sends_back_what_came() -> Result<()> {
    let site = Direct::new(&name("echo")).build()?;
    let _sink = FlowSink::start(site.host("sink")?, 7, Replies::Echo)?;
    let generator = site.host("generator")?;
    let mut capture = Capture::open(generator, "eth0")?;
    let flows = Flows::udp(generator.address()?, SocketAddrV4::new(SINK, 7)).payload(100);

    Generator::new(generator, flows)?.send(3..4)?;

    let wanted = Frame::udp(SocketAddrV4::new(SINK, 7), flows.source(3));
    let mut payload = vec![0; 100];
    payload[7] = 3;
    let wanted = wanted.payload(&payload).build()?;
    let echoed = capture.find(2 * SECOND, |frame| {
        (frame[34..] == wanted[34..]).then_some(())
    })?;
    assert!(echoed.is_some());
    Ok(())
}
