//! Options of a TCP or IPv4 header: one behind the other, each a kind and a length (RFC 9293 §3.1,
//! RFC 791 §3.1).

use crate::{frame::Packet, world::World};

/// Options of a header: forty bytes, each at least one.
const OPTIONS_MAX: usize = 40;
/// No more options.
const END: u8 = 0;
/// Nothing.
const NOTHING: u8 = 1;

/// Where a header's options stand, in bytes.
pub struct Options {
    /// Where the header begins in the frame.
    pub header: usize,
    /// Where the first option does in the header.
    pub first: usize,
    /// Where the header ends.
    pub end: usize,
}

impl Options {
    /// Where in the header the first option stands of which kind and length say that it is `wanted`.
    #[inline(always)]
    pub fn find<P: Packet, W: World>(
        &self,
        packet: &mut P,
        world: &W,
        wanted: impl Fn([u8; 2]) -> bool,
    ) -> Option<usize> {
        let place = world.place()?;
        place.set(self.first as u32);
        let mut step = 0;
        while step < OPTIONS_MAX {
            // No header is that long; but older verifiers know a bound only when they see it.
            let at = place.get() as usize % 64;
            if at + 2 > self.end {
                return None;
            }
            let option = *packet.at::<[u8; 2]>(self.header + at)?;
            let [kind, length] = option;
            if wanted(option) && at + length as usize <= self.end {
                return Some(at);
            }
            let length = match kind {
                END => return None,
                NOTHING => 1,
                _ if length < 2 => return None,
                _ => length as u32,
            };
            place.set(at as u32 + length);
            step += 1;
        }
        None
    }
}
