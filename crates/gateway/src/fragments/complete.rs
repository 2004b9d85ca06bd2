//! Gives a datagram in fragments a checksum that has none, as soon as all are there (RFC 6146 §3.4).

use super::{
    Frame,
    piece::{Piece, word},
};

/// The fragments of an IPv4 packet, in order, if all are there and what they make up is a datagram without a
/// checksum; now with one. None of any that overlap, but for repetitions.
pub fn complete(held: &[Frame]) -> Option<Vec<Frame>> {
    let mut pieces: Vec<(Piece<'_>, &Frame)> = held
        .iter()
        .map(|frame| Some((Piece::of(&frame.bytes)?, frame)))
        .collect::<Option<_>>()?;
    pieces.sort_by_key(|(piece, _)| piece.offset());
    // It is asked with every fragment that comes: most often one end is still missing.
    let ((first, _), (last, _)) = (pieces.first()?, pieces.last()?);
    if first.offset() != 0 || last.has_more() {
        return None;
    }
    pieces.dedup_by_key(|(piece, _)| (piece.offset(), piece.body.len()));
    let mut datagram = Vec::new();
    for (piece, _) in &pieces {
        if piece.offset() != datagram.len() || !piece.is_udp() {
            return None;
        }
        datagram.extend_from_slice(piece.body);
    }
    if word(&datagram, 6)? != 0 {
        return None;
    }
    let (first, _) = pieces.first()?;
    first.give_checksum(&mut datagram)?;
    let (at, check) = (first.header.len() + 6, datagram.get(6..8)?);
    let mut frames: Vec<Frame> = pieces.iter().map(|(_, frame)| (*frame).clone()).collect();
    let first = frames.first_mut()?;
    first.bytes.get_mut(at..at + 2)?.copy_from_slice(check);
    Some(frames)
}
