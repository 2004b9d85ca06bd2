//! UPDATE: prefixes that are announced or withdrawn (RFC 4271 §4.3, RFC 4760).

use std::net::IpAddr;

use ipnet::IpNet;

use super::{HEADER, Kind, framed, notification::Notification};
use crate::{
    attributes::{self, Attributes, Seen, Sender},
    family::{self, Family},
    reader::Reader,
};

/// What an UPDATE says, after RFC 7606.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Prefixes that are gone, or were said in a way that makes them so.
    pub withdrawn: Vec<IpNet>,
    /// Prefixes that are there.
    pub announced: Vec<IpNet>,
    /// What is said of them.
    pub seen: Seen,
    /// That was everything, of this family (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// Why announced prefixes were taken for withdrawn.
    pub fault: Option<&'static str>,
    /// Attributes that were left out because they were wrong.
    pub discarded: Vec<&'static str>,
}

impl Update {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// The NOTIFICATION that ends the session.
    pub fn read(body: &[u8], sender: Sender) -> Result<Self, Notification> {
        let mut reader = Reader(body);
        let parts = (reader.sized16(), reader.sized16());
        let (Some(withdrawn), Some(written)) = parts else {
            return Err(Notification::MALFORMED_ATTRIBUTES);
        };
        let nets =
            |reader| family::read_all(reader, Family::Ipv4).ok_or(Notification::INVALID_NETWORK);
        let mut update = Self {
            withdrawn: nets(withdrawn)?,
            announced: nets(reader)?,
            ..Self::default()
        };
        let is_empty = withdrawn.is_empty() && reader.is_empty();
        if is_empty && written.is_empty() {
            update.end_of_rib = Some(Family::Ipv4);
            return Ok(update);
        }
        let has_prefixes = !update.announced.is_empty();
        let mut judged = attributes::judge(written, sender, has_prefixes)?;
        if has_prefixes && written.is_empty() {
            judged.fault = Some("prefixes without attributes");
        }
        update.announced.append(&mut judged.reached);
        if let Some((family, nets)) = judged.unreached {
            if is_empty && nets.is_empty() && update.announced.is_empty() {
                update.end_of_rib = Some(family);
            }
            update.withdrawn.extend(nets);
        }
        if judged.fault.is_some() {
            update.withdrawn.append(&mut update.announced);
        }
        update.seen = judged.seen;
        update.fault = judged.fault;
        update.discarded = judged.discarded;
        Ok(update)
    }
}

/// How messages to a peer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writing {
    /// Numbers of autonomous systems have four bytes.
    pub is_four_octet: bool,
    /// Bytes of a message at most.
    pub length_max: usize,
}

/// Messages that announce prefixes of a family; each holds as many as fit. Every list of attributes leaves
/// room for at least one.
pub fn announce(
    family: Family,
    attributes: &Attributes,
    nets: &[IpNet],
    writing: Writing,
) -> Vec<Vec<u8>> {
    let is_plain = family == Family::Ipv4 && matches!(attributes.next_hop, IpAddr::V4(_));
    let head = attributes.reach(family);
    let mut without = Vec::new();
    attributes.write(
        writing.is_four_octet,
        (!is_plain).then_some(head.as_slice()),
        &mut without,
    );
    // Two lengths of two bytes, and what makes the first attribute an extended one.
    let taken = HEADER + 4 + without.len() + 1;
    let room = writing.length_max.saturating_sub(taken);
    let pieces = packed(nets, room);
    let message = |piece: Vec<u8>| {
        let mut written = Vec::new();
        let mut body = vec![0, 0];
        match is_plain {
            true => attributes.write(writing.is_four_octet, None, &mut written),
            false => {
                let mut reach = head.clone();
                reach.extend_from_slice(&piece);
                attributes.write(writing.is_four_octet, Some(&reach), &mut written);
            }
        }
        body.extend(
            u16::try_from(written.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes(),
        );
        body.extend(written);
        if is_plain {
            body.extend(piece);
        }
        framed(Kind::Update, &body)
    };
    pieces.into_iter().map(message).collect()
}

/// Messages that withdraw prefixes of a family.
pub fn withdraw(family: Family, nets: &[IpNet], writing: Writing) -> Vec<Vec<u8>> {
    // Lengths, and of IPv6 the head of MP_UNREACH_NLRI.
    let room = writing.length_max.saturating_sub(HEADER + 4 + 4 + 3);
    let message = |piece: Vec<u8>| {
        let mut body = Vec::new();
        match family {
            Family::Ipv4 => {
                body.extend(u16::try_from(piece.len()).unwrap_or(u16::MAX).to_be_bytes());
                body.extend(piece);
                body.extend([0, 0]);
            }
            Family::Ipv6 => body = unreached(family, &piece),
        }
        framed(Kind::Update, &body)
    };
    packed(nets, room).into_iter().map(message).collect()
}

/// The message that says: that was everything (RFC 4724 §2).
pub fn end_of_rib(family: Family) -> Vec<u8> {
    let body = match family {
        Family::Ipv4 => vec![0; 4],
        Family::Ipv6 => unreached(family, &[]),
    };
    framed(Kind::Update, &body)
}

fn unreached(family: Family, nets: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    attributes::unreach(family, nets, &mut written);
    let mut body = vec![0, 0];
    body.extend(
        u16::try_from(written.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    body.extend(written);
    body
}

/// Prefixes in pieces of at most `room` bytes.
fn packed(nets: &[IpNet], room: usize) -> Vec<Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for net in nets {
        let mut bytes = Vec::new();
        family::write(net, &mut bytes);
        match pieces.last_mut() {
            Some(piece) if piece.len() + bytes.len() <= room => piece.extend(bytes),
            Some(_) | None => pieces.push(bytes),
        }
    }
    pieces
}
