//! A peer that sends rubbish: the daemon says what is wrong with it, and goes on.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use api::http::{Bgp, path};
use e2e::harness::{Gateway, wait_for};
use lab::{Target, Topology};

use super::scene::{PATIENCE, policy};

/// A message: sixteen ones, the length, the type, the body.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    let length = u16::try_from(19 + body.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

/// An OPEN of AS 65000 that can nothing.
fn open() -> Vec<u8> {
    let mut body = vec![4];
    body.extend(65_000_u16.to_be_bytes());
    body.extend([0, 90, 10, 0, 0, 1, 0]);
    message(1, &body)
}

/// What is said, and the code and subcode of the NOTIFICATION that must come for it.
fn rubbish() -> Vec<(&'static str, Vec<u8>, [u8; 2])> {
    let attributes = |bytes: &[u8]| {
        let mut body = vec![0, 0];
        body.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
        body.extend(bytes);
        message(2, &body)
    };
    let established = |bytes: Vec<u8>| [open(), message(4, &[]), bytes].concat();
    let mut other_as = open();
    other_as[21] ^= 1;
    let mut other_version = open();
    other_version[19] = 3;
    vec![
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            [1, 1],
        ),
        (
            "a length of 18",
            [vec![0xff; 16], vec![0, 18, 1]].concat(),
            [1, 2],
        ),
        ("a type of 9", message(9, &[]), [1, 3]),
        ("version 3", other_version, [2, 1]),
        ("another AS", other_as, [2, 2]),
        ("a KEEPALIVE first", message(4, &[]), [5, 1]),
        (
            "an UPDATE before the KEEPALIVE",
            [open(), message(2, &[0; 4])].concat(),
            [5, 2],
        ),
        ("a second OPEN", established(open()), [5, 3]),
        (
            "attributes beyond the end",
            established(message(2, &[0, 0, 0, 9])),
            [3, 1],
        ),
        (
            "a well-known attribute that nobody knows",
            established(attributes(&[0x40, 99, 0])),
            [3, 2],
        ),
        (
            "a prefix of 33 bits",
            established(message(2, &[0, 0, 0, 0, 33, 1, 2, 3, 4, 5])),
            [3, 10],
        ),
    ]
}

#[test]
fn rubbish_is_answered_by_name_and_the_next_session_comes_up() -> Result<()> {
    let site = Topology::two_arm(&format!("bgp-rubbish-{}", std::process::id()))
        .pods("10.1.0.0/24", ["a1"])
        .gateway("gw")
        .target(Target::open("api"))
        .external(["192.0.2.8/30"])
        .build()?;
    let router = site.host("outside")?;
    let address: SocketAddr = "172.31.2.1:179".parse()?;
    let listener: TcpListener = router.enter(|| TcpListener::bind(address))??;
    listener.set_nonblocking(true)?;
    let gateway = Gateway::launch(site.host("gw")?, &policy("", ""))?;

    for (what, bytes, expected) in rubbish() {
        let mut stream = called(&listener)?;
        stream.write_all(&bytes)?;
        let said = notification(&mut stream).with_context(|| what.to_owned())?;
        ensure!(said == expected, "{what}: {said:?} instead of {expected:?}");
        println!("{what}: {said:?}");
        // It waits longer each time that it fails; nobody here has the time.
        let reset = br#"{"peer": "router", "ask": "reset"}"#;
        gateway.http().post(path::BGP, reset)?;
    }
    // And somebody who speaks BGP is understood.
    let mut stream = called(&listener)?;
    stream.write_all(&[open(), message(4, &[])].concat())?;
    wait_for(PATIENCE, "a session", || {
        let bgp: Bgp = gateway.http().get(path::BGP)?.json()?;
        let is_up = bgp.peers.iter().any(|it| it.state == "established");
        Ok(is_up.then_some(()))
    })?;
    drop(stream);
    gateway.finish()
}

/// Waits until the gateway calls.
fn called(listener: &TcpListener) -> Result<TcpStream> {
    let stream = wait_for(PATIENCE, "the gateway calls", || match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    })?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The code and subcode of the NOTIFICATION that comes, whatever comes before it.
fn notification(stream: &mut TcpStream) -> Result<[u8; 2]> {
    loop {
        let mut header = [0; 19];
        stream.read_exact(&mut header).context("no NOTIFICATION")?;
        let [.., high, low, kind] = header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut body = vec![0; length.saturating_sub(19)];
        stream.read_exact(&mut body)?;
        if let (3, [code, subcode, ..]) = (kind, body.as_slice()) {
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            return Ok([*code, *subcode]);
        }
    }
}
