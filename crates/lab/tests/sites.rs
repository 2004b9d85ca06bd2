//! What the shapes do with packets, without any gateway program.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{
    Capture, Direct, Direction, Frame, Injector, Plan, Role, Site, Target, Topology, Transfer,
    mirror,
};

use crate::{EXTERNAL, demo, name};

const SECOND: Duration = Duration::from_secs(1);

/// Pods reach an open target under their own addresses, by every kind of traffic there is.
#[track_caller]
fn check_plain_forwarding(site: &Site) -> Result<()> {
    let api = site.host("api")?.address()?;
    for (pod, address) in [("a1", "10.1.0.11"), ("a2", "10.1.0.12")] {
        let pod = site.host(pod)?;

        assert!(pod.ping(api)?);
        let body = pod.curl(&format!("http://{api}/"))?;
        assert_eq!(body.trim().parse::<SocketAddr>()?.ip().to_string(), address);
        let answer = pod.ask(SocketAddrV4::new(api, 53), b"who am I?")?;
        assert_eq!(answer.seen.ip().to_string(), address);
        assert_eq!(answer.payload, b"who am I?");
    }
    let before = site.host("gw")?.counters("lo")?;
    assert_eq!(before.rx_packets, 0, "nothing should stay inside a gateway");
    Ok(())
}

/// A guarded target refuses pods, and says so; from an external address it answers.
#[track_caller]
fn check_the_acl(site: &Site) -> Result<()> {
    let (pod, gateway, db) = (site.host("a1")?, site.host("gw")?, site.host("db")?);
    let url = format!("http://{}/", db.address()?);

    let refused = pod.curl(&url).unwrap_err();
    assert!(refused.to_string().contains("onnect"), "{refused}");
    assert!(!pod.ping(db.address()?)?);
    assert!(pod.ask(SocketAddrV4::new(db.address()?, 53), b"?").is_err());
    assert_eq!(db.admissions()?.admitted, 0);
    let before = db.admissions()?.refused;
    assert!(before >= 3, "{before}");

    gateway.ip(&format!("address add {}/32 dev lo", EXTERNAL[1]))?;
    let body = gateway.succeed("curl", ["-sS", "--interface", EXTERNAL[1], &url])?;
    assert!(body.starts_with(EXTERNAL[1]), "{body}");
    assert!(db.admissions()?.admitted > 0);
    assert_eq!(db.admissions()?.refused, before);
    Ok(())
}

/// The same over IPv6, to a target that both versions reach.
#[track_caller]
fn check_ipv6(site: &Site) -> Result<()> {
    let (pod, gateway) = (site.host("a1")?, site.host("gw")?);
    let (api, db) = (site.host("api")?.address6()?, site.host("db")?.address6()?);

    assert!(pod.ping(api)?);
    let body = pod.curl(&format!("http://[{api}]/"))?;
    let seen: SocketAddr = body.trim().parse()?;
    assert_eq!(seen.ip(), pod.address6()?);
    let answer = pod.ask6(SocketAddrV6::new(api, 53, 0, 0), b"who am I?")?;
    assert_eq!(answer.seen.ip(), pod.address6()?);
    let transfer = Transfer::start(pod, (api, 9000), Direction::Download, Some(1 << 20))?;
    lab::until(10 * SECOND, || (transfer.bytes() > 0).then_some(())).context("nothing came")?;
    assert_eq!(transfer.finish()?.wrong_at, None);

    assert!(pod.curl(&format!("http://[{db}]/")).is_err());
    let guest = mirror(EXTERNAL[1].parse()?);
    gateway.ip(&format!("address add {guest}/128 dev lo nodad"))?;
    let guest = guest.to_string();
    let url = format!("http://[{db}]/");
    let body = gateway.succeed("curl", ["-sS", "--interface", &guest, &url])?;
    assert!(body.contains(&guest), "{body}");
    Ok(())
}

#[test]
fn a_site_with_ipv6_has_it_beside_ipv4_in_both_shapes() -> Result<()> {
    for (shape, name) in [
        (Topology::two_arm(&name("two6")), "two arms"),
        (Topology::one_arm(&name("one6")), "one arm"),
    ] {
        let site = demo(shape).ipv6().build()?;

        check_plain_forwarding(&site).context(name)?;
        check_ipv6(&site).context(name)?;
    }
    Ok(())
}

#[test]
fn two_arms_forward_and_the_target_refuses_strangers() -> Result<()> {
    let site = demo(Topology::two_arm(&name("two"))).build()?;

    check_plain_forwarding(&site)?;
    check_the_acl(&site)
}

#[test]
fn one_arm_forwards_and_the_target_refuses_strangers() -> Result<()> {
    let site = demo(Topology::one_arm(&name("one-arm"))).build()?;

    check_plain_forwarding(&site)?;
    check_the_acl(&site)?;
    let passed = site.host("gw")?.counters("eth0")?;
    assert!(
        passed.tx_packets > 10,
        "pods' packets did not pass the gateway: {passed:?}"
    );
    Ok(())
}

#[test]
fn a_silent_target_lets_strangers_wait() -> Result<()> {
    let site = Topology::one_arm(&name("silent"))
        .pods("10.1.0.0/24", ["a"])
        .gateway("gw")
        .target(Target::guarded("db").silent().http(80))
        .build()?;

    let error = site.host("a")?.curl("http://198.51.100.11/").unwrap_err();

    assert!(error.to_string().contains("timed out"), "{error}");
    assert!(site.host("db")?.admissions()?.refused > 0);
    Ok(())
}

#[test]
fn several_gateways_share_the_load_by_ports() -> Result<()> {
    let site = Topology::two_arm(&name("ecmp"))
        .pods("10.1.0.0/24", ["a"])
        .gateway("g1")
        .gateway("g2")
        .target(Target::open("api").datagrams(53))
        .external(EXTERNAL)
        .build()?;

    let pod = site.host("a")?;
    for _ in 0..64 {
        pod.ask(
            SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 11), 53),
            b"spread",
        )?;
    }

    for gateway in site.hosts_of(Role::Gateway) {
        let counted = gateway.counters("in0")?;
        assert!(counted.rx_packets > 10, "{}: {counted:?}", gateway.name());
    }
    Ok(())
}

#[test]
fn a_pod_speaks_as_every_client_behind_it() -> Result<()> {
    for shape in [
        Topology::two_arm(&name("many2")),
        Topology::one_arm(&name("many1")),
    ] {
        let site = demo(shape.clients("a1", "10.2.0.0/16")).build()?;

        let url = "http://198.51.100.12/";
        let body = site
            .host("a1")?
            .succeed("curl", ["-sS", "--interface", "10.2.200.7", url])?;

        assert!(body.starts_with("10.2.200.7:"), "{body}");
    }
    Ok(())
}

#[test]
fn neighbours_are_unresolved_until_somebody_speaks_or_the_plan_says_so() -> Result<()> {
    let site = demo(Topology::two_arm(&name("arp"))).build()?;
    assert_eq!(site.host("gw")?.ip("neigh show")?, "");
    drop(site);

    let site = Direct::new(&name("static")).build()?;

    let neighbours = site.host("gateway")?.ip("neigh show")?;
    assert_eq!(neighbours.matches("PERMANENT").count(), 2, "{neighbours}");
    Ok(())
}

#[test]
fn frames_look_as_they_do_on_real_hardware() -> Result<()> {
    let site = demo(Topology::two_arm(&name("frames"))).build()?;
    let (pod, gateway) = (site.host("a1")?, site.host("gw")?);
    let mut inside = Capture::open(gateway, "in0")?;
    let mut outside = Capture::open(gateway, "out0")?;
    let api = SocketAddrV4::new(site.host("api")?.address()?, 9000);

    for direction in [Direction::Upload, Direction::Download] {
        let transfer = Transfer::start(pod, api, direction, None)?;
        lab::until(5 * SECOND, || (transfer.bytes() > 1 << 20).then_some(()))
            .context("the transfer does not move")?;
        transfer.finish()?;
    }

    for (capture, least) in [(&mut inside, 700), (&mut outside, 700)] {
        let frames = capture.drain()?;
        assert!(frames.len() > least, "{} frames", frames.len());
        for frame in frames {
            assert!(frame.len() <= 1514, "a frame of {} bytes", frame.len());
            lab::verify_checksums(&frame)?;
        }
    }
    Ok(())
}

#[test]
fn a_frame_is_captured_as_it_was_sent_with_its_vlan_tags() -> Result<()> {
    let mut plan = Plan::new(&name("vlan"));
    plan.link(("a", "eth0"), ("b", "eth0"));
    let site = plan.build()?;
    let (a, b) = (site.host("a")?, site.host("b")?);
    let mut capture = Capture::open(b, "eth0")?;
    let (source, target) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let ping = Frame::echo_request(source, target, 1, 1).between(a.mac("eth0")?, b.mac("eth0")?);
    let frames = [
        ping.clone().build()?,
        ping.clone().vlan(100).build()?,
        ping.vlan(100).vlan(7).build()?,
    ];

    Injector::open(a, "eth0")?.send(&frames)?;

    for frame in frames {
        assert_eq!(
            capture.find(SECOND, |found| Some(found.to_vec()))?,
            Some(frame)
        );
    }
    Ok(())
}

#[test]
fn links_have_as_many_queues_as_asked() -> Result<()> {
    let site = Direct::new(&name("queues"))
        .queues(2)
        .external(["192.0.2.10"])
        .build()?;

    for (host, interface) in [("generator", "eth0"), ("gateway", "out0"), ("sink", "eth0")] {
        let text = site.host(host)?.ip(&format!("-d link show {interface}"))?;
        assert!(text.contains("numtxqueues 2 numrxqueues 2"), "{text}");
    }
    assert!(
        site.host("sink")?
            .ip("route get 192.0.2.10")?
            .contains("via 198.51.100.1")
    );
    Ok(())
}
