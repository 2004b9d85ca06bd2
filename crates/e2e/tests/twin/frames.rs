//! All kinds of frames, in an order that is always the same.

mod six;

use std::collections::VecDeque;

use abi::{Ip4, Port, Protocol};
use datapath::native::Frame;

use crate::rig::{
    Sketch,
    site::{ARM, INSIDE, OUTSIDE, UNLISTED, own_mac, tuple},
    sketch::{ACK, FIN, RST, SYN, read},
};

/// The kernel's smallest frame for a test run.
const FRAME_MIN: usize = 14;

/// All kinds of frames, in an order that is always the same.
pub struct Frames {
    random: u64,
    /// Whether half of them have to do with IPv6.
    has_ipv6: bool,
    first: VecDeque<Frame>,
    sent: Vec<Frame>,
    seen: Vec<Frame>,
}

impl Frames {
    /// These frames, and then others.
    pub fn after(first: Vec<Frame>, has_ipv6: bool) -> Self {
        Self {
            has_ipv6,
            random: 0x9e37_79b9_7f4a_7c15,
            first: first.into(),
            sent: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Xorshift64: enough to be varied, and always the same.
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let index = self.random(of.len().max(1) as u64) as usize;
        of.get(index).cloned()
    }

    /// A frame that a twin sent: what others would answer.
    pub fn saw(&mut self, frame: Frame) {
        if self.seen.len() < 4096 {
            self.seen.push(frame);
        } else {
            let index = self.random(4096) as usize;
            self.seen[index] = frame;
        }
    }

    pub fn next(&mut self) -> Frame {
        if let Some(frame) = self.first.pop_front() {
            return frame;
        }
        let frame = match self.random(16) {
            _ if self.has_ipv6 && self.random(2) == 0 => self.of_ipv6(),
            0 => self.noise(),
            1..=3 => self.again().unwrap_or_else(|| self.sketched()),
            4..=6 => self.answer().unwrap_or_else(|| self.sketched()),
            7..=9 => self.damaged(),
            10 if self.random(8) == 0 => self.tagged(),
            11 => self.error().unwrap_or_else(|| self.sketched()),
            _ => self.sketched(),
        };
        if self.sent.len() < 64 {
            self.sent.push(frame.clone());
        } else {
            let index = self.random(64) as usize;
            self.sent[index] = frame.clone();
        }
        frame
    }

    /// A frame that was sent before.
    fn again(&mut self) -> Option<Frame> {
        let index = self.random(self.sent.len().max(1) as u64) as usize;
        self.sent.get(index).cloned()
    }

    /// An ICMP error about a frame that a twin sent, or about one that it was sent.
    fn error(&mut self) -> Option<Frame> {
        let from_inside = self.random(3) == 0;
        let frames = std::mem::take(if from_inside {
            &mut self.sent
        } else {
            &mut self.seen
        });
        let about = self.pick(&frames);
        *(if from_inside {
            &mut self.sent
        } else {
            &mut self.seen
        }) = frames;
        let about = about.filter(|frame| frame.bytes.len() >= 34)?;
        let kind = [3, 3, 11, 12, 5][self.random(5) as usize];
        let from = Ip4([203, 0, 113, self.random(4) as u8]);
        let length = [20, 28, 48, 576][self.random(4) as usize];
        let mut sketch = Sketch::error(kind, from, &about.bytes, length);
        sketch.ingress = if self.random(4) == 0 { INSIDE } else { OUTSIDE };
        sketch.to = own_mac(sketch.ingress);
        let mut frame = sketch.frame();
        if self.random(8) == 0 {
            let place = 14 + self.random(frame.bytes.len() as u64 - 14) as usize;
            frame.bytes[place] ^= 1 << self.random(8);
        }
        Some(frame)
    }

    fn noise(&mut self) -> Frame {
        let length = FRAME_MIN + self.random(120) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| self.random(256) as u8).collect();
        let ingress = 1 + self.random(4) as u32;
        if self.random(2) == 0 {
            bytes[..6].copy_from_slice(&own_mac(ingress));
            bytes[12..14].copy_from_slice(&[8, 0]);
        }
        Frame { bytes, ingress }
    }

    /// A frame in which everything is in order but what is meant to be odd.
    fn sketched(&mut self) -> Frame {
        let protocol = self.pick(&Protocol::ALL).unwrap_or(Protocol::Udp);
        let ingress = [INSIDE, INSIDE, INSIDE, OUTSIDE, ARM, UNLISTED][self.random(6) as usize];
        let source = match self.random(8) {
            0 => [10, 7, 0, self.random(4) as u8],
            1 => [192, 168, 0, 1],
            _ => [10, 1, self.random(2) as u8, self.random(64) as u8],
        };
        let target = match self.random(16) {
            0 => [203, 0, 113, 1],
            1 => [198, 18, self.random(4) as u8, 1],
            2 => [192, 0, 2, self.random(11) as u8],
            3 => [10, 255, 255, 1],
            4 => [10, 2, 0, 1],
            last => [198, 51, 100, last as u8],
        };
        let port = 4000 + self.random(64) as u16;
        let remote = if protocol == Protocol::Icmp {
            0
        } else {
            440 + self.random(8) as u16
        };
        let mut sketch = Sketch::first(protocol, tuple((source, port), (target, remote)));
        sketch.ingress = ingress;
        sketch.to = own_mac(ingress);
        sketch.ttl = [0, 1, 2, 64, 64, 64, 64, 255][self.random(8) as usize];
        sketch.dont_fragment = self.random(2) == 0;
        let payload = [0, 1, 5, 64, 600, 1400][self.random(6) as usize];
        sketch.payload = vec![0x5a; payload];
        match self.random(12) {
            0 => sketch.options = vec![1; 4 * (1 + self.random(10) as usize)],
            1 | 6 => {
                sketch.part = (self.random(2) == 0, self.random(3) as u16 * 16);
                sketch.id = self.random(4) as u16;
            }
            2 => sketch.padding = self.random(20) as usize,
            3 => sketch.to = [0xff; 6],
            4 | 5 => {
                let flags = [ACK, RST, RST | ACK, FIN | ACK, SYN | ACK, 0, FIN];
                let flags = self.pick(&flags).unwrap_or(ACK);
                sketch = sketch.flags(flags);
            }
            _ => {}
        }
        sketch.frame()
    }

    /// A frame with a VLAN tag.
    fn tagged(&mut self) -> Frame {
        let mut frame = self.sketched();
        let ethertype = [[0x81, 0x00], [0x88, 0xa8]][self.random(2) as usize];
        frame.bytes.splice(12..12, [ethertype, [0, 5]].concat());
        frame
    }

    /// What the receiver of a frame that was sent would answer.
    fn answer(&mut self) -> Option<Frame> {
        let seen = std::mem::take(&mut self.seen);
        let frame = self.pick(&seen);
        self.seen = seen;
        let (protocol, tuple) = read(&frame?.bytes)?;
        let mut tuple = tuple.reversed();
        // Another remote, another port of the same, or another client to the same external port.
        match self.random(8) {
            0 => tuple.source.0[3] = 1 + self.random(16) as u8,
            1 => tuple.source_port = Port::new(440 + self.random(8) as u16),
            2 => {
                tuple.source.0 = [10, 1, 0, self.random(8) as u8];
                tuple.source_port = Port::new(4000 + self.random(64) as u16);
                let mut sketch = Sketch::first(protocol, tuple);
                (sketch.ingress, sketch.to) = (INSIDE, own_mac(INSIDE));
                return Some(sketch.frame());
            }
            _ => {}
        }
        let mut sketch = match self.random(4) {
            0 => Sketch::first(protocol, tuple),
            _ => Sketch::answer(protocol, tuple),
        };
        sketch.ingress = if self.random(8) == 0 { ARM } else { OUTSIDE };
        sketch.to = own_mac(sketch.ingress);
        sketch.ttl = [1, 2, 64, 64][self.random(4) as usize];
        let flags = [SYN | ACK, ACK, FIN | ACK, RST];
        let flags = self.pick(&flags).unwrap_or(ACK);
        Some(sketch.flags(flags).frame())
    }

    /// A frame with some bytes that are others, or cut short.
    fn damaged(&mut self) -> Frame {
        let mut frame = if self.random(3) == 0 {
            self.answer()
        } else {
            None
        }
        .unwrap_or_else(|| self.sketched());
        self.damage(&mut frame, 58);
        frame
    }

    /// Makes some bytes before `end` others, or cuts the frame short.
    fn damage(&mut self, frame: &mut Frame, end: u64) {
        for _ in 0..=self.random(3) {
            let place = (12 + self.random(end - 12) as usize).min(frame.bytes.len() - 1);
            frame.bytes[place] = match self.random(3) {
                0 => frame.bytes[place] ^ 1 << self.random(8),
                1 => frame.bytes[place].wrapping_add(1),
                _ => self.random(256) as u8,
            };
        }
        if self.random(6) == 0 {
            let length =
                FRAME_MIN + self.random((frame.bytes.len() - FRAME_MIN) as u64 + 1) as usize;
            frame.bytes.truncate(length);
        }
    }
}
