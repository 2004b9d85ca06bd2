//! Datagrams in fragments that come in no order, between the kernel's own stacks, and a flood of
//! fragments that belong to nothing (RFC 4787 §11).

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::harness::{Gateway, wait_for};
use e2e::wire::Edge;
use lab::{Direction, Frame, Host, Site, Topology, Transfer, Transport};

use crate::{
    A1, API, DB, NOBODY_INSIDE, POLICY, SOON, at, count, is_external, name, site, two_arm,
};

/// Bytes of a datagram in three fragments, the last of them small.
const LONG: usize = 4000;
/// Bytes of an IP packet's payload that a link of 1,500 bytes carries, a multiple of eight.
const PIECE: usize = 1480;

/// The fragments of a datagram, in order.
fn fragments(from: SocketAddrV4, to: SocketAddrV4, id: u16, payload: &[u8]) -> Result<Vec<Frame>> {
    let whole = Frame::udp(from, to).payload(payload).build()?;
    let data = whole.get(34..).context("a datagram")?;
    let count = data.len().div_ceil(PIECE);
    let pieces = data.chunks(PIECE).enumerate().map(|(number, piece)| Frame {
        identification: id,
        dont_fragment: false,
        more_fragments: number + 1 < count,
        fragment_offset: (number * PIECE / 8) as u16,
        ..Frame::new(*from.ip(), *to.ip(), Transport::Other(17)).payload(piece)
    });
    Ok(pieces.collect())
}

/// What a datagram of this number carries.
fn payload(number: u16) -> Vec<u8> {
    (0..LONG)
        .map(|index| (index as u16 ^ number) as u8)
        .collect()
}

/// A socket of a pod, and what it receives.
fn socket(pod: &Host, local: SocketAddrV4) -> Result<UdpSocket> {
    let socket = pod.enter(|| UdpSocket::bind(local))??;
    socket.set_read_timeout(Some(SOON))?;
    Ok(socket)
}

fn receive(socket: &UdpSocket) -> Result<(Vec<u8>, std::net::SocketAddr)> {
    let mut buffer = vec![0; 65_536];
    let (length, from) = socket.recv_from(&mut buffer)?;
    buffer.truncate(length);
    Ok((buffer, from))
}

/// Who the target saw, and what it got.
fn answer(socket: &UdpSocket) -> Result<(SocketAddrV4, Vec<u8>)> {
    let (bytes, _) = receive(socket)?;
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .context("an answer")?;
    let seen = std::str::from_utf8(&bytes[..end])?.parse()?;
    Ok((seen, bytes[end + 1..].to_vec()))
}

/// All orders of the three fragments, from a pod that sends its first packet so, and back.
#[test]
fn datagrams_arrive_in_whatever_order_their_fragments_come() -> Result<()> {
    let (site, gateway) = two_arm("order")?;
    let (inside, outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);
    let orders = [
        [2, 1, 0],
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
    ];

    for (number, order) in orders.into_iter().enumerate() {
        let number = number as u16;
        let local = at(A1, 7400 + number);
        let socket = socket(site.host("a1")?, local)?;
        let sent = fragments(local, at(DB, 53), number, &payload(number))?;
        inside.send_all(&order.map(|index| sent[index].clone()))?;
        let (seen, echoed) = answer(&socket).with_context(|| format!("out, {order:?}"))?;
        assert!(is_external(*seen.ip()), "{seen}");
        assert!(echoed == payload(number), "{order:?}");

        let back = fragments(at(DB, 53), seen, number, &payload(!number))?;
        outside.send_all(&order.map(|index| back[index].clone()))?;
        let (got, from) = receive(&socket).with_context(|| format!("back, {order:?}"))?;
        assert_eq!(from, at(DB, 53).into());
        assert!(got == payload(!number), "{order:?}");
    }

    // Of the six orders, [2, 1, 0] and [1, 2, 0] have two before the first, two others have one.
    assert_eq!(count(&gateway, "fragment_held")?, 2 * (2 * 2 + 2));
    assert_eq!(gateway.metric(&fate("released"))?, 12.0);
    assert_eq!(gateway.metric("egret_held_fragments")?, 0.0);
    gateway.finish()
}

fn fate(fate: &str) -> String {
    format!("egret_held_fragments_total{{fate=\"{fate}\"}}")
}

/// A gateway with one interface sends what was held out by the one it came by.
#[test]
fn fragments_out_of_order_pass_a_gateway_with_one_arm() -> Result<()> {
    let site = site(Topology::one_arm(&name("order-one")))?;
    let gateway = Gateway::launch(site.host("gw")?, POLICY)?;

    check_reversed(&site, gateway, Edge::only(&site, "gw")?, DB)
}

/// What is sent through again is left to the kernel, like what came in order.
#[test]
fn fragments_out_of_order_that_a_rule_passes_are_forwarded() -> Result<()> {
    let policy = "
pools:
  - {name: team-a, addresses: [192.0.2.10, 192.0.2.11]}
rules:
  - {name: own, sources: [10.1.0.0/24], destinations: [198.51.100.12], services: [udp/53], action: pass}
  - {name: out, sources: [10.1.0.0/24], destinations: [198.51.100.0/24], pool: team-a}
";
    let site = site(Topology::two_arm(&name("order-pass")))?;
    let gateway = Gateway::launch(site.host("gw")?, policy)?;

    check_reversed(&site, gateway, Edge::inside(&site, "gw")?, API)
}

/// A reversed datagram reaches a target, and its answer the pod.
fn check_reversed(site: &Site, gateway: Gateway, edge: Edge, target: Ipv4Addr) -> Result<()> {
    let local = at(A1, 7500);
    let socket = socket(site.host("a1")?, local)?;
    let mut sent = fragments(local, at(target, 53), 9, &payload(9))?;
    sent.reverse();

    edge.send_all(&sent)?;

    let (seen, echoed) = answer(&socket)?;
    assert_eq!(is_external(*seen.ip()), target == DB, "{seen}");
    assert!(echoed == payload(9));
    assert_eq!(count(&gateway, "fragment_held")?, 2);
    assert_eq!(gateway.metric(&fate("released"))?, 2.0);
    gateway.finish()
}

/// Fragments of a flood, from each of its kinds.
const FLOOD: u32 = 50_000;
/// Fragments that are sent at once, so few that the wire between two namespaces does not drop any.
const AT_ONCE: u32 = 32;

/// Sends fragments whose first ones never come, half of them from one sender and half from many;
/// returns the most bytes that were held.
fn flood(gateway: &Gateway, inside: &Edge) -> Result<f64> {
    let mut most_bytes = 0.0_f64;
    let one = |_| NOBODY_INSIDE;
    let many = |number: u32| Ipv4Addr::new(10, 1, 0, 128 + (number % 100) as u8);
    for source in [one as fn(u32) -> Ipv4Addr, many] {
        for begin in (0..FLOOD).step_by(AT_ONCE as usize) {
            let frames = (begin..FLOOD.min(begin + AT_ONCE)).map(|number| Frame {
                identification: number as u16,
                dont_fragment: false,
                fragment_offset: 8,
                ..Frame::new(source(number), DB, Transport::Other(17)).payload(&[9; 1000])
            });
            inside.send_all(&frames.collect::<Vec<_>>())?;
            thread::sleep(Duration::from_micros(500));
            if begin % 8192 == 0 {
                most_bytes = most_bytes.max(gateway.metric("egret_held_bytes")?);
            }
        }
    }
    Ok(most_bytes)
}

/// Asks a target one question after the other; returns how many it answered. Every one must be.
fn ask_until(socket: &UdpSocket, over: &AtomicBool) -> Result<u32> {
    let mut number = 0_u32;
    while !over.load(Relaxed) {
        socket.send(&number.to_be_bytes())?;
        let (_, echoed) = answer(socket).with_context(|| format!("question {number} was lost"))?;
        ensure!(echoed == number.to_be_bytes(), "question {number} was lost");
        number += 1;
    }
    Ok(number)
}

/// A hundred thousand fragments whose first ones never come: nobody else loses a packet, memory stays
/// at its bound, and fragments of others pass in any order as soon as it is over.
#[test]
fn a_flood_of_fragments_takes_nothing_from_others() -> Result<()> {
    let (site, gateway) = two_arm("flood")?;
    let a1 = site.host("a1")?;
    let inside = Edge::inside(&site, "gw")?;
    let transfer = Transfer::start(a1, at(DB, 9000), Direction::Download, Some(4 << 20))?;
    wait_for(SOON, "the transfer is under way", || {
        Ok((transfer.bytes() > 1 << 20).then_some(()))
    })?;

    let asker = socket(a1, at(A1, 7601))?;
    asker.connect(at(DB, 53))?;
    let (over, others) = (AtomicBool::new(false), &asker);
    let (most_bytes, asked) = thread::scope(|scope| {
        let asked = scope.spawn(|| ask_until(others, &over));
        let most_bytes = flood(&gateway, &inside);
        over.store(true, Relaxed);
        (most_bytes, asked.join())
    });
    let (most_bytes, asked) = (most_bytes?, asked.expect("it only asks")?);

    let received = transfer.finish()?;
    let (held, refused) = (
        count(&gateway, "fragment_held")?,
        count(&gateway, "fragments_full")?,
    );
    println!(
        "{held} fragments were held and {refused} refused, in at most {most_bytes} bytes; meanwhile \
         {asked} questions were answered, and {} bytes arrived in {:?}, longest stall {:?}",
        received.bytes, received.elapsed, received.longest_stall
    );
    assert_eq!(received.wrong_at, None);
    assert!(asked > 100, "{asked}");
    assert_eq!(held + refused, u64::from(2 * FLOOD));
    assert!(refused > 0);
    let limit = gateway.metric("egret_held_max_bytes")?;
    assert!(most_bytes <= limit, "{most_bytes} of {limit} bytes");
    wait_for(SOON, "all are given up", || {
        Ok((gateway.metric("egret_held_fragments")? == 0.0).then_some(()))
    })?;
    let local = at(A1, 7600);
    let socket = socket(a1, local)?;
    let mut sent = fragments(local, at(DB, 53), 9, &payload(9))?;
    sent.reverse();
    inside.send_all(&sent)?;
    let (_, echoed) = answer(&socket)?;
    ensure!(echoed == payload(9), "a datagram came back as another");
    gateway.finish()
}
