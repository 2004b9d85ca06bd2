//! Frames of IPv6, and those of IPv4 that mean something to who has IPv6.

use abi::{Ip4, Ip6, Port, Prefix64, Protocol};
use datapath::native::Frame;

use super::Frames;
use crate::rig::{
    Sketch, Sketch6,
    dual::own_prefix,
    site::{ARM, INSIDE, OUTSIDE, UNLISTED, own_mac, peer_mac},
    sketch::{ACK, FIN, Message, RST, SYN},
    sketch6::{ip6, tuple6},
    whole::whole,
};

impl Frames {
    pub(super) fn of_ipv6(&mut self) -> Frame {
        match self.random(8) {
            0 | 1 => self.answer6().unwrap_or_else(|| self.sketched6()),
            2 => self.error6().unwrap_or_else(|| self.sketched6()),
            3 => self.damaged6(),
            _ => self.sketched6(),
        }
    }

    /// A frame in which everything is in order but what is meant to be odd.
    fn sketched6(&mut self) -> Frame {
        let protocol = self.pick(&Protocol::ALL).unwrap_or(Protocol::Udp);
        let ingress = [INSIDE, INSIDE, INSIDE, OUTSIDE, ARM, UNLISTED][self.random(6) as usize];
        let mut source = match self.random(10) {
            0 => ip6("fd07::"),
            1 => ip6("2001:db8:77::"),
            2 => ip6("fd12::"),
            3 => ip6("fd13::"),
            4 if self.random(8) == 0 => Prefix64::WELL_KNOWN.embed(Ip4([198, 51, 100, 0])),
            _ => ip6("fd01::"),
        };
        source.0[15] = self.random(32) as u8;
        let target = self.target6();
        let remote = if protocol == Protocol::Icmp {
            0
        } else {
            440 + self.random(8) as u16
        };
        let mut tuple = tuple6(("::", 4000 + self.random(32) as u16), ("::", remote));
        (tuple.source, tuple.target) = (source, target);
        let mut sketch = Sketch6 {
            ingress,
            to: own_mac(ingress),
            from: peer_mac(ingress),
            hops: [0, 1, 2, 64, 64, 64, 64, 255][self.random(8) as usize],
            class: [0, 0x2e][self.random(2) as usize],
            ..Sketch6::first(protocol, tuple)
        };
        let payload = [0, 1, 5, 64, 600, 1300, 1400][self.random(7) as usize];
        sketch.payload = vec![0x5a; payload];
        match self.random(12) {
            0 => sketch = sketch.extension(0, 8).extension(60, 16),
            1 => sketch = sketch.extension(43, 8),
            2 | 3 => {
                let id = self.random(4) as u32;
                let body = sketch.body().len();
                let cut = [8, 64, 256][self.random(3) as usize].min(body / 8 * 8);
                let parts = sketch.fragments(id, &[cut]);
                return self.pick(&parts).unwrap_or_else(|| sketch.frame());
            }
            4 => sketch.to = [0xff; 6],
            5 | 6 => {
                let flags = [ACK, RST, RST | ACK, FIN | ACK, SYN | ACK, 0, FIN];
                let flags = self.pick(&flags).unwrap_or(ACK);
                sketch = sketch.flags(flags);
            }
            7 => sketch.padding = self.random(20) as usize,
            _ => {}
        }
        sketch.frame()
    }

    /// Remotes of both versions, external addresses of ours, and those behind troubles of every kind.
    fn target6(&mut self) -> Ip6 {
        let last = self.random(8) as u8;
        let six = |address: &str| {
            let mut address = ip6(address);
            address.0[15] = last;
            address
        };
        let four = match self.random(12) {
            0 => [203, 0, 113, last],
            1 => [198, 18, last % 4, 1],
            2 | 3 => [192, 0, 2, last],
            4 => [10, 1, 0, last],
            _ => [198, 51, 100, last],
        };
        match self.random(16) {
            0 => six("2001:db8:12::"),
            1 => six("2001:db8:13::"),
            2 => six("2001:db8:14::"),
            3 | 4 => six("2001:db8:ff::"),
            5 => six("fd02::"),
            6 => ip6("ff02::1"),
            7 => six("2001:db8:1::"),
            8 => six("2001:db8:1::"),
            9 => own_prefix().embed(Ip4(four)),
            10 => ip6("fd00::ff:1"),
            _ => Prefix64::WELL_KNOWN.embed(Ip4(four)),
        }
    }

    /// What the receiver of a frame that was sent would answer, in that one's version.
    fn answer6(&mut self) -> Option<Frame> {
        let seen = std::mem::take(&mut self.seen);
        let frame = self.pick(&seen);
        self.seen = seen;
        let (protocol, tuple) = whole(&frame?.bytes)?.tuple()?;
        let mut tuple = tuple.reversed();
        if self.random(8) == 0 {
            tuple.source_port = Port::new(440 + self.random(8) as u16);
        }
        let flags = [SYN | ACK, ACK, FIN | ACK, RST];
        let flags = self.pick(&flags).unwrap_or(ACK);
        let ingress = [OUTSIDE, OUTSIDE, OUTSIDE, ARM, INSIDE][self.random(5) as usize];
        let payload = [0, 5, 600, 1400, 1480][self.random(5) as usize];
        let is_first = self.random(4) == 0;
        let Some(narrow) = tuple.narrow() else {
            let sketch = match is_first {
                true => Sketch6::first(protocol, tuple),
                false => Sketch6::answer(protocol, tuple),
            };
            let sketch = Sketch6 {
                ingress,
                to: own_mac(ingress),
                from: peer_mac(ingress),
                ..sketch.flags(flags).payload(&vec![0x5a; payload])
            };
            return Some(sketch.frame());
        };
        let sketch = match is_first {
            true => Sketch::first(protocol, narrow),
            false => Sketch::answer(protocol, narrow),
        };
        let mut sketch = Sketch {
            ingress,
            to: own_mac(ingress),
            dont_fragment: self.random(2) == 0,
            ..sketch.flags(flags).payload(&vec![0x5a; payload])
        };
        match self.random(6) {
            0 => {
                sketch.part = (self.random(2) == 0, self.random(3) as u16 * 16);
                sketch.id = self.random(4) as u16;
            }
            1 => sketch.options = vec![1; 8],
            2 => {
                sketch.part = (true, 0);
                // Larger than what is held.
                if self.random(4) == 0 {
                    sketch.payload = vec![0x5a; 3200];
                }
            }
            3 => sketch.options = vec![1, 131, 7, [4, 8][self.random(2) as usize], 192, 0, 2, 1],
            4 if self.random(4) == 0 => sketch.source = Ip4([127, 0, 0, 1]),
            _ => {}
        }
        if let Message::Udp { is_summed, .. } = &mut sketch.message {
            *is_summed = self.random(3) != 0;
        }
        Some(sketch.frame())
    }

    /// An error about a frame that a twin sent, in that one's version.
    fn error6(&mut self) -> Option<Frame> {
        let seen = std::mem::take(&mut self.seen);
        let about = self.pick(&seen);
        self.seen = seen;
        let about = about?.bytes;
        let packet = whole(&about)?;
        let ingress = [OUTSIDE, OUTSIDE, INSIDE][self.random(3) as usize];
        let length = [40, 48, 80, 1232][self.random(4) as usize];
        let what = [(1, 0, 0), (1, 4, 0), (2, 0, 1300), (3, 0, 0), (4, 1, 6)];
        let (kind, code, rest) = self.pick(&what)?;
        if packet.version == 6 {
            let error = Sketch6::error((kind, code, rest), ip6("2001:db8:9::9"), &about, length);
            let (to, from) = (own_mac(ingress), peer_mac(ingress));
            let error = Sketch6 {
                ingress,
                to,
                from,
                ..error
            };
            return Some(error.frame());
        }
        let (kind, code, rest) = self.pick(&[(3, 1, 0), (3, 4, 1400), (11, 0, 0), (12, 0, 0)])?;
        let error = Sketch {
            ingress,
            to: own_mac(ingress),
            message: Message::IcmpError { kind, code, rest },
            ..Sketch::error(kind, Ip4([203, 0, 113, 77]), &about, length)
        };
        Some(error.frame())
    }

    /// A frame with some bytes that are others, or cut short.
    fn damaged6(&mut self) -> Frame {
        let whole = match self.random(4) {
            0 => self.answer6(),
            1 => self.error6(),
            _ => None,
        };
        let mut frame = whole.unwrap_or_else(|| self.sketched6());
        self.damage(&mut frame, 100);
        frame
    }
}
