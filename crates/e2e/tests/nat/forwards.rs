//! Ports that are forwarded inbound and ports that were asked for, between the kernel's own sockets.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::http::{FlowsQuery, Mapping, Mappings};
use e2e::harness::Gateway;
use lab::{Host, Site, Topology, mirror};

use crate::{A1, API, DB, SOON, at, count, ip4, name, site};

const EXTERNAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

/// How long somebody knocks who is not let in.
const PATIENCE: Duration = Duration::from_millis(300);

/// One address, through which nothing is reached.
const CLOSED: &str = "
pools:
  - {name: team-a, addresses: [192.0.2.10]}
rules:
  - {name: out, sources: [10.1.0.0/24], pool: team-a}
";

/// A web server, which one host may reach by another port, and a range of datagrams.
const OPEN: &str = "
pools:
  - name: team-a
    addresses: [192.0.2.10]
    forwards:
      - {name: web, service: tcp/80, to: '10.1.0.11:8080'}
      - {name: guarded, service: tcp/8081, to: '10.1.0.11:8080', from: [198.51.100.12]}
      - {name: media, service: udp/5060-5069, to: 10.1.0.11}
rules:
  - {name: out, sources: [10.1.0.0/24], pool: team-a}
";

fn two_arm(test: &str, policy: &str) -> Result<(Site, Gateway)> {
    let site = site(Topology::two_arm(&name(test)))?;
    let gateway = Gateway::launch(site.host("gw")?, policy)?;
    Ok((site, gateway))
}

fn listen(host: &Host) -> Result<TcpListener> {
    Ok(host.enter(|| TcpListener::bind("[::]:8080"))??)
}

fn bound(host: &Host, port: u16) -> Result<UdpSocket> {
    let socket = host.enter(move || UdpSocket::bind(("0.0.0.0", port)))??;
    socket.set_read_timeout(Some(SOON))?;
    Ok(socket)
}

/// A connection, as both its ends have it.
struct Call {
    caller: TcpStream,
    called: TcpStream,
    /// Who the called one thinks it is.
    seen: SocketAddr,
}

impl Call {
    fn make(host: &Host, to: impl Into<SocketAddr>, listener: &TcpListener) -> Result<Self> {
        let to = to.into();
        let caller = host.enter(move || TcpStream::connect_timeout(&to, SOON))??;
        let (called, seen) = listener.accept()?;
        let seen = SocketAddr::new(seen.ip().to_canonical(), seen.port());
        caller.set_read_timeout(Some(SOON))?;
        called.set_read_timeout(Some(SOON))?;
        Ok(Self {
            caller,
            called,
            seen,
        })
    }

    /// Something is said both ways.
    fn talk(&mut self) -> Result<()> {
        let mut heard = [0; 5];
        self.caller.write_all(b"hello")?;
        self.called.read_exact(&mut heard)?;
        ensure!(heard == *b"hello");
        self.called.write_all(b"world")?;
        self.caller.read_exact(&mut heard)?;
        ensure!(heard == *b"world");
        Ok(())
    }
}

/// Whether somebody is let in at once.
fn is_let_in(host: &Host, to: impl Into<SocketAddr>) -> Result<bool> {
    let to = to.into();
    let knock = host.enter(move || TcpStream::connect_timeout(&to, PATIENCE))?;
    Ok(knock.is_ok())
}

#[test]
fn a_forwarded_port_reaches_a_pod_from_outside_and_from_inside() -> Result<()> {
    let (site, gateway) = two_arm("forward-tcp", OPEN)?;
    let (pod, other) = (site.host("a1")?, site.host("a2")?);
    let (api, db) = (site.host("api")?, site.host("db")?);
    let listener = listen(pod)?;
    let (web, guarded) = (at(EXTERNAL, 80), at(EXTERNAL, 8081));

    let mut outside = Call::make(api, web, &listener)?;
    outside.talk()?;
    let mut inside = Call::make(other, web, &listener)?;
    inside.talk()?;
    let mut allowed = Call::make(api, guarded, &listener)?;
    allowed.talk()?;

    assert_eq!(outside.seen.ip(), API, "a caller is seen as it is");
    assert_eq!(
        inside.seen.ip(),
        EXTERNAL,
        "a pod is seen by its external address"
    );
    assert_eq!(gateway.all_flows()?.total, 3);
    assert!(!is_let_in(db, guarded)?);
    assert!(count(&gateway, "filtered")? >= 1);
    assert!(is_let_in(db, web)?);

    // What goes from the configuration takes nobody along.
    gateway.apply(CLOSED)?;
    for call in [&mut outside, &mut inside, &mut allowed] {
        call.talk()?;
    }
    assert!(!is_let_in(api, web)?);
    gateway.finish()
}

#[test]
fn a_range_of_forwarded_ports_takes_datagrams_and_the_pod_answers_and_begins_from_them()
-> Result<()> {
    let (site, gateway) = two_arm("forward-udp", OPEN)?;
    let pod = bound(site.host("a1")?, 5064)?;
    let caller = bound(site.host("api")?, 6000)?;
    let external = SocketAddr::from(at(EXTERNAL, 5064));
    let mut heard = [0; 64];

    caller.send_to(b"ring", external)?;
    let (length, from) = pod.recv_from(&mut heard)?;
    assert_eq!(
        (heard.get(..length), from),
        (Some(&b"ring"[..]), at(API, 6000).into())
    );
    pod.send_to(b"yes?", from)?;
    let (length, from) = caller.recv_from(&mut heard)?;
    assert_eq!((heard.get(..length), from), (Some(&b"yes?"[..]), external));

    pod.send_to(b"?", at(DB, 53))?;
    pod.recv_from(&mut heard).context("the target answers")?;
    let begun = gateway.only_flow(&FlowsQuery {
        remote: Some(format!("{DB}:53")),
        ..FlowsQuery::default()
    })?;
    assert_eq!(ip4(begun.external), at(EXTERNAL, 5064));

    // A closed port is reported to who called.
    let nobody = bound(site.host("api")?, 6001)?;
    nobody.connect(at(EXTERNAL, 5065))?;
    nobody.send(b"anybody?")?;
    let error = nobody.recv(&mut heard).err().context("nobody is there")?;
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    gateway.finish()
}

#[test]
fn a_port_that_was_asked_for_outlives_the_daemon_and_not_its_withdrawal() -> Result<()> {
    let (site, mut gateway) = two_arm("lease", CLOSED)?;
    let (pod, api) = (site.host("a1")?, site.host("api")?);
    let listener = listen(pod)?;
    let internal = at(A1, 8080).to_string();
    let add = |external: &str| -> [String; 7] {
        [
            "mappings",
            "add",
            "tcp",
            &internal,
            "--external",
            external,
            "--only",
        ]
        .map(str::to_owned)
    };
    let add = |gateway: &Gateway, external: &str| -> Result<Mapping> {
        let words = add(external);
        gateway.egret_json(&words.each_ref().map(String::as_str))
    };

    let granted = add(&gateway, ":4443")?;
    let external = ip4(granted.external);
    assert_eq!(external, at(EXTERNAL, 4443));
    let mut call = Call::make(api, external, &listener)?;
    call.talk()?;
    assert!(
        gateway
            .run_egret(&[
                "mappings",
                "add",
                "tcp",
                "10.1.0.12:1",
                "--external",
                ":4443",
                "--only"
            ])?
            .status
            .code()
            == Some(1),
        "it is another's"
    );

    gateway.kill()?;
    Call::make(api, external, &listener)?.talk()?;
    gateway.start()?;
    call.talk()?;
    Call::make(site.host("a2")?, external, &listener)?.talk()?;
    let listed: Mappings = gateway.egret_json(&["mappings"])?;
    assert_eq!(listed.mappings.len(), 1);
    assert_eq!(
        add(&gateway, ":4443")?.external,
        granted.external,
        "renewed"
    );
    println!("{}", gateway.egret(&["mappings"])?);

    gateway.egret(&["mappings", "remove", "tcp", &internal])?;
    call.talk()?;
    assert!(!is_let_in(site.host("db")?, external)?);
    assert_eq!(gateway.egret_json::<Mappings>(&["mappings"])?.mappings, []);
    gateway.finish()
}

/// A pool of both versions, and a prefix by which its IPv6 hosts know those of IPv4.
const CLOSED6: &str = "
pools:
  - {name: both, addresses: [192.0.2.10, '2001:db8::192.0.2.10']}
rules:
  - {name: both, sources: [10.1.0.0/24, '2001:db8::10.1.0.0/120'], pool: both}
nat64: {prefixes: ['64:ff9b::/96']}
";

/// A web server that has IPv6, for callers of both versions, and by another port for one of each.
const OPEN6: &str = "
pools:
  - name: both
    addresses: [192.0.2.10, '2001:db8::192.0.2.10']
    forwards:
      - {name: four, service: tcp/80, address: 192.0.2.10, to: '[2001:db8::10.1.0.11]:8080'}
      - {name: six, service: tcp/80, address: '2001:db8::192.0.2.10',
         to: '[2001:db8::10.1.0.11]:8080'}
      - {name: guarded-four, service: tcp/8081, address: 192.0.2.10,
         to: '[2001:db8::10.1.0.11]:8080', from: [198.51.100.12]}
      - {name: guarded-six, service: tcp/8081, address: '2001:db8::192.0.2.10',
         to: '[2001:db8::10.1.0.11]:8080', from: ['2001:db8::198.51.100.12']}
rules:
  - {name: both, sources: [10.1.0.0/24, '2001:db8::10.1.0.0/120'], pool: both}
nat64: {prefixes: ['64:ff9b::/96']}
";

fn of_both_versions(test: &str, policy: &str) -> Result<(Site, Gateway)> {
    let site = site(Topology::two_arm(&name(test)).ipv6())?;
    let gateway = Gateway::launch(site.host("gw")?, policy)?;
    Ok((site, gateway))
}

/// What the well-known prefix makes of an IPv4 address (RFC 6052 §2.1).
fn embedded(address: Ipv4Addr) -> Ipv6Addr {
    let prefix: u128 = 0x0064_ff9b << 96;
    Ipv6Addr::from(prefix | u128::from(u32::from(address)))
}

/// RFC 6146 §3.1, and the same within IPv6.
#[test]
fn a_forwarded_port_reaches_a_pod_of_ipv6_from_outside_by_either_version() -> Result<()> {
    let (site, gateway) = of_both_versions("forward-six", OPEN6)?;
    let (api, db) = (site.host("api")?, site.host("db")?);
    let listener = listen(site.host("a1")?)?;
    let ends: [IpAddr; 2] = [EXTERNAL.into(), mirror(EXTERNAL).into()];
    let callers: [IpAddr; 2] = [embedded(API).into(), mirror(API).into()];

    let mut calls = Vec::new();
    for (end, seen) in ends.into_iter().zip(callers) {
        for port in [80, 8081] {
            let mut call = Call::make(api, (end, port), &listener)?;
            call.talk()?;
            assert_eq!(call.seen.ip(), seen, "a caller of {end} is seen so");
            calls.push(call);
        }
        assert!(!is_let_in(db, (end, 8081))?);
        Call::make(db, (end, 80), &listener)?.talk()?;
    }
    assert!(count(&gateway, "filtered")? >= 2);

    // A pod of either version, by the external address of its own, sees nothing else.
    let pod = site.host("a2")?;
    for (to, seen) in [
        (IpAddr::from(EXTERNAL), IpAddr::from(embedded(EXTERNAL))),
        (embedded(EXTERNAL).into(), embedded(EXTERNAL).into()),
        (mirror(EXTERNAL).into(), mirror(EXTERNAL).into()),
    ] {
        let mut inside = Call::make(pod, (to, 80), &listener)?;
        inside.talk()?;
        assert_eq!(inside.seen.ip(), seen, "by {to}");
        calls.push(inside);
    }

    // What goes from the configuration takes nobody along.
    gateway.apply(CLOSED6)?;
    for call in &mut calls {
        call.talk()?;
    }
    for end in ends {
        assert!(!is_let_in(api, (end, 80))?);
    }
    gateway.finish()
}

#[test]
fn a_port_that_was_asked_for_leads_to_a_pod_of_ipv6_and_outlives_the_daemon() -> Result<()> {
    let (site, mut gateway) = of_both_versions("lease-six", CLOSED6)?;
    let (pod, api) = (site.host("a1")?, site.host("api")?);
    let listener = listen(pod)?;
    let internal = SocketAddr::from((mirror(A1), 8080)).to_string();

    for (wanted, end) in [
        ("0.0.0.0:4444", IpAddr::from(EXTERNAL)),
        ("[::]:4444", mirror(EXTERNAL).into()),
    ] {
        let words = ["mappings", "add", "tcp", &internal, "--external", wanted];
        let granted: Mapping = gateway.egret_json(&words)?;
        let external = SocketAddr::new(granted.external.address, granted.external.port);
        assert_eq!(external, SocketAddr::new(end, 4444));
        let mut call = Call::make(api, external, &listener)?;
        call.talk()?;

        gateway.kill()?;
        Call::make(api, external, &listener)?.talk()?;
        gateway.start()?;
        call.talk()?;
        let listed: Mappings = gateway.egret_json(&["mappings"])?;
        assert_eq!(listed.mappings.len(), 1);
        println!("{}", gateway.egret(&["mappings"])?);

        gateway.egret(&["mappings", "remove", "tcp", &internal])?;
        call.talk()?;
        assert!(!is_let_in(site.host("db")?, external)?);
    }
    assert_eq!(gateway.egret_json::<Mappings>(&["mappings"])?.mappings, []);
    gateway.finish()
}
