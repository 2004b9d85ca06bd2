//! Cuts an IPv4 packet into fragments, each of which fits a link when it has become IPv6
//! (RFC 7915 §4.1).

use super::{
    Frame,
    piece::{LINK, MORE, OFFSET, Piece, sum},
};

/// Bytes of an IPv6 header and a fragment header, which stand before each piece.
const BEFORE: usize = 48;

/// The pieces, in order, that become IPv6 packets of at most `mtu` bytes. None of what is no IPv4 packet, or
/// fits as it is: then somebody wants them shorter than `mtu` can be.
pub fn cut(frame: &Frame, mtu: u16) -> Vec<Frame> {
    pieces(&frame.bytes, usize::from(mtu))
        .unwrap_or_default()
        .into_iter()
        .map(|bytes| Frame {
            ingress: frame.ingress,
            bytes,
        })
        .collect()
}

fn pieces(frame: &[u8], mtu: usize) -> Option<Vec<Vec<u8>>> {
    let packet = Piece::of(frame)?;
    let (before, place) = (packet.header, packet.place);
    let mut body = packet.body.to_vec();
    let room = mtu.checked_sub(BEFORE)? & !7;
    if room == 0 || body.len() <= room {
        return None;
    }
    // What ends behind the longest packet there can be is nothing's.
    if packet.offset() + body.len() > usize::from(u16::MAX) {
        return None;
    }
    if place & (MORE | OFFSET) == 0 && packet.is_udp() {
        packet.give_checksum(&mut body)?;
    }
    let count = body.len().div_ceil(room);
    let pieces = body.chunks(room).enumerate().map(|(number, piece)| {
        let more = if number + 1 < count { MORE } else { 0 };
        let offset = (number * room / 8) as u16;
        // What follows the last piece follows the packet.
        let place = (place & !OFFSET) | more | ((place & OFFSET) + offset);
        let mut bytes = before.to_vec();
        let length = (before.len() - LINK + piece.len()) as u16;
        bytes[LINK + 2..LINK + 4].copy_from_slice(&length.to_be_bytes());
        bytes[LINK + 6..LINK + 8].copy_from_slice(&place.to_be_bytes());
        bytes[LINK + 10..LINK + 12].fill(0);
        let check = !sum(0, &bytes[LINK..]);
        bytes[LINK + 10..LINK + 12].copy_from_slice(&check.to_be_bytes());
        bytes.extend_from_slice(piece);
        bytes
    });
    Some(pieces.collect())
}
