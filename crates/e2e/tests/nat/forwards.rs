//! Ports that are forwarded inbound and ports that were asked for, between the kernel's own sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::http::{FlowsQuery, Mapping, Mappings};
use e2e::harness::Gateway;
use lab::{Host, Site, Topology};

use crate::{A1, API, DB, SOON, at, count, name, site};

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
    Ok(host.enter(|| TcpListener::bind("0.0.0.0:8080"))??)
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
    fn make(host: &Host, to: SocketAddrV4, listener: &TcpListener) -> Result<Self> {
        let caller = host.enter(move || TcpStream::connect_timeout(&to.into(), SOON))??;
        let (called, seen) = listener.accept()?;
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
fn is_let_in(host: &Host, to: SocketAddrV4) -> Result<bool> {
    let knock = host.enter(move || TcpStream::connect_timeout(&to.into(), PATIENCE))?;
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
    assert_eq!(
        at(begun.external.address, begun.external.port),
        at(EXTERNAL, 5064)
    );

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
    let external = at(granted.external.address, granted.external.port);
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
