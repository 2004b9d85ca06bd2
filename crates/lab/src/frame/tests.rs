//! Frames that are built here are read by a parser that is not ours.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use super::*;

const A: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 11), 4001);
const B: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 11), 80);

fn frames() -> Vec<Frame> {
    vec![
        Frame::udp(A, B).payload(b"odd"),
        Frame::tcp(A, B, |header| header.syn = true),
        Frame::echo_request(*A.ip(), *B.ip(), 7, 1).payload(b"ping"),
        Frame::udp(A, B).vlan(100).vlan(200),
        Frame {
            options: vec![1, 1, 1, 0],
            ..Frame::udp(A, B).payload(b"options")
        },
        Frame {
            more_fragments: true,
            ..Frame::udp(A, B).payload(&[0; 1000])
        },
        Frame::new(*A.ip(), *B.ip(), Transport::Other(47)).payload(b"gre"),
    ]
}

#[test]
fn what_is_built_is_parsed_as_such() {
    let bytes = Frame::udp(A, B)
        .vlan(100)
        .payload(b"hello")
        .build()
        .unwrap();

    let parsed = SlicedPacket::from_ethernet(&bytes).unwrap();

    assert_eq!(
        parsed.vlan_ids().as_slice(),
        [VlanId::try_new(100).unwrap()]
    );
    let Some(NetSlice::Ipv4(ip)) = parsed.net else {
        panic!("not IPv4")
    };
    assert_eq!(ip.header().destination_addr(), *B.ip());
    let Some(TransportSlice::Udp(udp)) = parsed.transport else {
        panic!("not UDP")
    };
    assert_eq!(
        (udp.source_port(), udp.payload()),
        (A.port(), &b"hello"[..])
    );
}

#[test]
fn built_frames_have_right_checksums() {
    for frame in frames() {
        verify_checksums(&frame.build().unwrap()).unwrap();
    }
}

#[test]
fn a_changed_bit_of_a_packet_is_noticed() {
    let bytes = Frame::udp(A, B).payload(b"payload").build().unwrap();

    for byte in Ethernet2Header::LEN..bytes.len() {
        let mut changed = bytes.clone();
        changed[byte] ^= 0x10;
        // Making the header longer, the packet a fragment or the protocol another changes what
        // there is to check, but then the header's own checksum is wrong.
        assert!(verify_checksums(&changed).is_err(), "byte {byte}");
    }
}

#[test]
fn what_is_not_ipv4_has_nothing_to_check() {
    for frame in [&[][..], &[0; 13], &[0xff; 60]] {
        verify_checksums(frame).unwrap();
    }
}
