//! Cuts an IPv4 packet into fragments, each of which fits a link when it has become IPv6
//! (RFC 7915 §4.1).

use super::Frame;

/// Bytes before the IP header.
const LINK: usize = 14;
/// Bytes of an IPv6 header and a fragment header, which stand before each piece.
const BEFORE: usize = 48;
/// In the fifth word of an IPv4 header: this is not the last fragment.
const MORE: u16 = 0x2000;
/// The bits of the fragment offset, in units of eight bytes.
const OFFSET: u16 = 0x1fff;
const UDP: u8 = 17;

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
    let first = usize::from(*frame.get(LINK)?);
    let header = (first & 0x0f) * 4;
    if first >> 4 != 4 || header < 20 {
        return None;
    }
    let total = usize::from(word(frame, LINK + 2)?);
    let before = frame.get(..LINK + header)?;
    let mut body = frame.get(LINK + header..LINK + total)?.to_vec();
    let room = mtu.checked_sub(BEFORE)? & !7;
    if room == 0 || body.len() <= room {
        return None;
    }
    let place = word(before, LINK + 6)?;
    // What ends behind the longest packet there can be is nothing's.
    if usize::from(place & OFFSET) * 8 + body.len() > usize::from(u16::MAX) {
        return None;
    }
    if place & (MORE | OFFSET) == 0 && before.get(LINK + 9) == Some(&UDP) {
        complete(before, &mut body)?;
    }
    let count = body.len().div_ceil(room);
    let pieces = body.chunks(room).enumerate().map(|(number, piece)| {
        let more = if number + 1 < count { MORE } else { 0 };
        let offset = (number * room / 8) as u16;
        // What follows the last piece follows the packet.
        let place = (place & !OFFSET) | more | ((place & OFFSET) + offset);
        let mut bytes = before.to_vec();
        let length = (header + piece.len()) as u16;
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

/// Gives a datagram without a checksum one: of its fragments it could not be told, and IPv6 wants one
/// (RFC 7915 §4.5).
fn complete(before: &[u8], datagram: &mut [u8]) -> Option<()> {
    if word(datagram, 6)? != 0 {
        return Some(());
    }
    let length = u32::from(word(datagram, 4)?);
    let pseudo = sum(length + u32::from(UDP), before.get(LINK + 12..LINK + 20)?);
    let check = match !sum(u32::from(pseudo), datagram) {
        0 => 0xffff,
        check => check,
    };
    datagram
        .get_mut(6..8)?
        .copy_from_slice(&check.to_be_bytes());
    Some(())
}

/// The ones' complement sum of bytes, and of what was before.
fn sum(before: u32, bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| match word {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [last] => u32::from(*last) << 8,
        _ => 0,
    });
    let mut sum = before + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let word = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(word.try_into().ok()?))
}
