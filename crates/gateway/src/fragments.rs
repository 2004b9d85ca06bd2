//! Fragments that came before the first one of their packet: kept until that comes, for a short time
//! and within bounds, and then let go in order (RFC 4787 REQ-14). And those of datagrams without a
//! checksum that are to become IPv6: kept until all are there (RFC 6146 §3.4).
//!
//! What a flood can do here is displace what others have here, and nothing else: packets whose
//! fragments come in order, and those that are no fragments, never come by. It displaces itself
//! first. One sender has no more than its share, at whose end its own oldest goes. Many senders, or one
//! that forges many addresses, displace what has waited longest of all: that is what is the least
//! likely to be completed, because fragments that overtake each other do so by milliseconds. How
//! many come by at all is bounded before, in the packet path: by sender, and by a ring.

mod complete;
mod cut;
mod piece;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use abi::{FragmentKey, Ip6};

use piece::Piece;

/// Packets of which fragments are held.
pub const PACKETS_MAX: usize = 4096;
/// Bytes that are held, with what it takes to hold them: a fifth of a second of 1 Gbit/s of nothing
/// but fragments that came too early.
pub const BYTES_MAX: usize = 24 << 20;
/// Fragments of one packet: as many as there are of the largest on a link of 1,280 bytes, and some
/// that came twice.
pub const FRAGMENTS_MAX: usize = 64;
/// Packets of one sender: an eighth, so that some senders that are out of order leave room for others.
pub const SENDER_PACKETS_MAX: usize = PACKETS_MAX / 8;
/// Bytes of one sender.
pub const SENDER_BYTES_MAX: usize = BYTES_MAX / 8;
/// Nanoseconds that a fragment is held: the least that RFC 6146 §4 has a translator wait, and much more
/// than networks reorder by. Its receiver waits longer (RFC 1122 §3.3.2), for those that are lost.
pub const PATIENCE: u64 = 2_000_000_000;
/// Bytes that it takes to hold a fragment beside its own: a small one is not for nothing.
const OVERHEAD: usize = 256;

/// A frame that is to be sent through the packet path again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The interface it came by.
    pub ingress: u32,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A fragment came. If it is a first one itself, its datagram has no checksum and needs one
    /// (RFC 6146 §3.4), for which all fragments must be there.
    Early {
        /// Of which packet.
        key: FragmentKey<Ip6>,
        /// When, in nanoseconds of the tables' clock.
        at: u64,
        /// The frame.
        frame: Frame,
        /// Whether the packet path knows the first one now.
        is_known: bool,
    },
    /// The first one of a packet has passed.
    First(FragmentKey<Ip6>),
    /// A packet came that is too long for IPv6, and may be fragmented.
    TooLong {
        /// The frame.
        frame: Frame,
        /// Bytes of the longest IPv6 packet that a piece of it may become.
        mtu: u16,
    },
    /// [`Holder::deadline`] has come.
    Tick,
}

/// How many fragments met which end, and how many are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Sent through again, behind their first one.
    pub released: u64,
    /// Given up, because their first one did not come in time.
    pub expired: u64,
    /// Given up to make room for others, or not taken because there were too many of their packet.
    pub displaced: u64,
    /// Cut from packets that were too long for IPv6.
    pub pieces: u64,
    /// Packets of which fragments are held.
    pub packets: usize,
    /// Fragments that are held.
    pub fragments: usize,
    /// Bytes that they take.
    pub bytes: usize,
}

/// Holds fragments.
#[derive(Debug, Default)]
pub struct Holder {
    /// By number: the oldest first.
    packets: BTreeMap<u64, Packet>,
    numbers: HashMap<FragmentKey<Ip6>, u64>,
    senders: HashMap<Ip6, Sender>,
    next: u64,
    tally: Tally,
}

/// What is held of one packet.
#[derive(Debug)]
struct Packet {
    key: FragmentKey<Ip6>,
    /// When the first of them came.
    since: u64,
    frames: Vec<Frame>,
    bytes: usize,
}

/// What is held of one sender.
#[derive(Debug, Default)]
struct Sender {
    packets: BTreeSet<u64>,
    bytes: usize,
}

impl Holder {
    /// Takes in what happened at `now`; returns what is to be sent through again, in order.
    pub fn handle(&mut self, event: Event, now: u64) -> Vec<Frame> {
        self.expire(now);
        match event {
            Event::Early {
                key,
                frame,
                is_known: true,
                ..
            } => {
                let mut frames = self.release(&key);
                self.tally.released += 1;
                frames.push(frame);
                frames
            }
            // What waited for a daemon that did not run.
            Event::Early { at, .. } if is_over(at, now) => {
                self.tally.expired += 1;
                Vec::new()
            }
            Event::Early { key, at, frame, .. } => {
                self.hold(key, at, frame);
                self.complete(&key)
            }
            Event::First(key) => self.release(&key),
            Event::TooLong { frame, mtu } => {
                let pieces = cut::cut(&frame, mtu);
                self.tally.pieces += pieces.len() as u64;
                pieces
            }
            Event::Tick => Vec::new(),
        }
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<u64> {
        let (_, oldest) = self.packets.first_key_value()?;
        Some(oldest.since + PATIENCE)
    }

    /// What became of fragments until now.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    fn hold(&mut self, key: FragmentKey<Ip6>, at: u64, frame: Frame) {
        let number = *self.numbers.entry(key).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        let packet = self.packets.entry(number).or_insert_with(|| {
            self.tally.packets += 1;
            Packet {
                key,
                since: at,
                frames: Vec::new(),
                bytes: 0,
            }
        });
        if packet.frames.len() >= FRAGMENTS_MAX {
            self.tally.displaced += 1;
            return;
        }
        let bytes = frame.bytes.len() + OVERHEAD;
        packet.frames.push(frame);
        packet.bytes += bytes;
        let sender = self.senders.entry(key.source).or_default();
        sender.packets.insert(number);
        sender.bytes += bytes;
        self.tally.fragments += 1;
        self.tally.bytes += bytes;
        self.make_room(&key.source);
    }

    /// Gives up what is too much.
    fn make_room(&mut self, sender: &Ip6) {
        loop {
            let oldest_of = |sender: &Sender| sender.packets.first().copied();
            let too_much = self.senders.get(sender).filter(|sender| {
                sender.packets.len() > SENDER_PACKETS_MAX || sender.bytes > SENDER_BYTES_MAX
            });
            let oldest = match too_much {
                Some(sender) => oldest_of(sender),
                None if self.tally.packets > PACKETS_MAX || self.tally.bytes > BYTES_MAX => {
                    self.packets.keys().next().copied()
                }
                None => None,
            };
            let Some(packet) = oldest.and_then(|number| self.remove(number)) else {
                return;
            };
            self.tally.displaced += packet.frames.len() as u64;
        }
    }

    fn expire(&mut self, now: u64) {
        while let Some((number, packet)) = self.packets.first_key_value()
            && is_over(packet.since, now)
        {
            let number = *number;
            if let Some(packet) = self.remove(number) {
                self.tally.expired += packet.frames.len() as u64;
            }
        }
    }

    /// Lets go of the fragments of a datagram without a checksum if they are all there: then it can have
    /// one.
    fn complete(&mut self, key: &FragmentKey<Ip6>) -> Vec<Frame> {
        let packet = self.numbers.get(key).and_then(|it| self.packets.get(it));
        let frames = packet.and_then(|packet| complete::complete(&packet.frames));
        let Some(frames) = frames else {
            return Vec::new();
        };
        let held = self.release(key).len() as u64;
        // What came twice goes once.
        let lost = held - frames.len() as u64;
        self.tally.released -= lost;
        self.tally.displaced += lost;
        frames
    }

    /// Lets go of a packet's fragments. In order, so that what has passed of it has few gaps.
    fn release(&mut self, key: &FragmentKey<Ip6>) -> Vec<Frame> {
        let number = self.numbers.get(key).copied();
        let Some(mut packet) = number.and_then(|number| self.remove(number)) else {
            return Vec::new();
        };
        self.tally.released += packet.frames.len() as u64;
        packet.frames.sort_by_key(|frame| offset(&frame.bytes));
        packet.frames
    }

    fn remove(&mut self, number: u64) -> Option<Packet> {
        let packet = self.packets.remove(&number)?;
        self.numbers.remove(&packet.key);
        if let Some(sender) = self.senders.get_mut(&packet.key.source) {
            sender.packets.remove(&number);
            sender.bytes -= packet.bytes;
            if sender.packets.is_empty() {
                self.senders.remove(&packet.key.source);
            }
        }
        self.tally.packets -= 1;
        self.tally.fragments -= packet.frames.len();
        self.tally.bytes -= packet.bytes;
        Some(packet)
    }
}

const fn is_over(since: u64, now: u64) -> bool {
    now >= since + PATIENCE
}

/// Where in its packet an IPv4 fragment belongs; others stay as they came.
fn offset(frame: &[u8]) -> usize {
    Piece::of(frame).map_or(0, |piece| piece.offset())
}

#[cfg(test)]
mod tests;
