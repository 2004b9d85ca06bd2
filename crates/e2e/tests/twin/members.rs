//! A member of a cluster: what it hands on, and what is handed to it.

use std::net::{IpAddr, Ipv6Addr};

use abi::{
    Protocol,
    cluster::{Division, Giver, Holder, NOBODY, Note, SET_WORDS},
};
use datapath::native::Frame;
use gateway::{cluster::Member, intent::cluster::Cluster};

use crate::{
    Play,
    rig::{
        Site, Sketch, Sketch6, dual,
        site::{INSIDE, OUTSIDE, own_mac, tuple},
        sums::{ones_add, sum},
    },
};

/// This one, one on its link, one whose MAC address is not known, one behind a narrow link.
const ADDRESSES: [[u8; 4]; 4] = [
    [172, 31, 1, 11],
    [172, 31, 1, 12],
    [198, 18, 0, 13],
    [203, 0, 113, 14],
];

/// The same by IPv6.
const ADDRESSES6: [&str; 4] = ["fd0a::11", "fd0a::12", "2001:db8:13::13", "2001:db8:12::14"];

/// Every kind of frame where a part of the flows is other members'.
pub fn play() -> Play {
    let addresses = ADDRESSES.map(IpAddr::from);
    over(&addresses, "twin-cluster", |site| {
        divide(site);
        handed_over(outer)
    })
}

/// The same where members reach each other by IPv6.
pub fn play6() -> Play {
    let addresses = ADDRESSES6.map(|it| it.parse().expect("an address"));
    over(&addresses, "twin-cluster6", |site| {
        divide(site);
        handed_over(outer6)
    })
}

fn over(addresses: &[IpAddr], name: &'static str, prepare: fn(&Site) -> Vec<Frame>) -> Play {
    let mut intent = dual::both([abi::Prefix64::WELL_KNOWN, dual::own_prefix()]);
    let members = addresses.iter().enumerate().map(|(index, address)| Member {
        name: format!("gw{index}"),
        address: *address,
    });
    intent.cluster = Some(Cluster {
        name: "west".to_owned(),
        members: members.collect(),
        me: 0,
        secret: "/secret".into(),
        bfd: None,
        hops: 1,
        mtu: 1500,
        replication: None,
    });
    Play {
        name,
        intent,
        flows: 2048,
        frames: 60_000,
        prepare,
        errors: u32::MAX,
        spoil: 0,
    }
}

/// Divides the buckets, so that everything that may be met with one is.
fn divide(site: &Site) {
    let holders: [Holder; 256] = std::array::from_fn(|bucket| {
        let (owner, before) = match bucket / 2 % 16 {
            0..=5 => (0, NOBODY),
            6 | 7 => (0, 1),
            8 | 9 => (1, 0),
            10 | 11 => (1, NOBODY),
            12 => (2, NOBODY),
            13 | 14 => (3, NOBODY),
            _ => (NOBODY, NOBODY),
        };
        Holder { owner, before }
    });
    // Of its own buckets it is first in most, and second in the others. It gives no ports of some yet, and still
    // gives those of some that it held.
    let givers = std::array::from_fn(|bucket| {
        let rank = match (holders[bucket].owner, bucket / 2 % 16) {
            (0, 7) => NOBODY,
            (0, 0..=3) | (1, 9) => 1,
            (0, _) => 0,
            _ => NOBODY,
        };
        let next = bucket as u8 % 3;
        Giver { rank, next }
    });
    let mut withheld = [[u64::MAX; 4]; 16];
    withheld[0] = [0x8080_8080_8080_8080; 4];
    withheld[1] = [!0x8080_8080_8080_8080; 4];
    site.memory.buckets.set(&Division {
        holders,
        givers,
        withheld,
        unknown: [0x0000_00ff_0000_00ff; SET_WORDS],
    });
}

/// Puts an outer header around the packet of a frame.
type Outer = fn(&[u8], (Note, u8), u8, u32) -> Frame;

/// What another member sends, and what only seems to be that.
fn handed_over(outer: Outer) -> Vec<Frame> {
    let mut frames = Vec::new();
    let notes = [
        Note::PLAIN,
        Note::PLAIN.inside(true),
        Note::PLAIN.inside(true).asking(),
        Note::PLAIN.inside(true).asking().yielding(false),
        Note::PLAIN.inside(true).beginning(),
        Note(0x50),
    ];
    for number in 0..240u16 {
        let note = notes[usize::from(number) % notes.len()];
        let hops = (usize::from(number) / notes.len() % 4) as u8;
        let client = ([10, 1, 2, number as u8], 4000 + number);
        let first = Sketch::first(
            [Protocol::Tcp, Protocol::Udp][usize::from(number) / 20 % 2],
            tuple(client, ([198, 51, 100, 4], 443)),
        );
        frames.push(outer(&first.frame().bytes, (note, hops), 4, INSIDE));
        let asked = crate::rig::sketch6::Sketch6::first(
            Protocol::Udp,
            crate::tuple6(("fd01::9", 4000 + number), ("2001:db8:1::4", 443)),
        );
        let six: Sketch6 = dual::arriving(INSIDE, &asked);
        frames.push(outer(&six.frame().bytes, (note, hops), 41, INSIDE));
        if number % 16 == 0 {
            frames.push(outer(&first.frame().bytes, (note, hops), 4, OUTSIDE));
            let large = Sketch {
                ingress: INSIDE,
                to: own_mac(INSIDE),
                payload: vec![0x5a; 1400],
                ..first
            };
            frames.push(large.frame());
        }
    }
    frames
}

/// A packet as the second member hands it over.
fn outer(frame: &[u8], (note, hops): (Note, u8), protocol: u8, ingress: u32) -> Frame {
    let packet = &frame[14..];
    let total = (20 + packet.len()) as u16;
    let mut header = vec![0x45, 0];
    header.extend(total.to_be_bytes());
    header.extend([note.0, hops << 4 | 1, 0x40, 0, 64, protocol, 0, 0]);
    header.extend(ADDRESSES[1]);
    header.extend(ADDRESSES[0]);
    let check = !ones_add(0, sum(&header));
    header[10..12].copy_from_slice(&check.to_be_bytes());
    let mut bytes = own_mac(ingress).to_vec();
    bytes.extend(&frame[6..12]);
    bytes.extend([0x08, 0x00]);
    bytes.extend(header);
    bytes.extend(packet);
    Frame { bytes, ingress }
}

/// The same by IPv6.
fn outer6(frame: &[u8], (note, hops): (Note, u8), protocol: u8, ingress: u32) -> Frame {
    let packet = &frame[14..];
    let mut header = vec![0x60, 0, note.0, hops << 4 | 1];
    header.extend((packet.len() as u16).to_be_bytes());
    header.extend([protocol, 64]);
    for address in [ADDRESSES6[1], ADDRESSES6[0]] {
        let address: Ipv6Addr = address.parse().expect("an address");
        header.extend(address.octets());
    }
    let mut bytes = own_mac(ingress).to_vec();
    bytes.extend(&frame[6..12]);
    bytes.extend([0x86, 0xdd]);
    bytes.extend(header);
    bytes.extend(packet);
    Frame { bytes, ingress }
}
