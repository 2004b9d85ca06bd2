//! An IPv4 packet in a frame, or a fragment of one, and the sums that its headers need.

/// Bytes before the IP header.
pub const LINK: usize = 14;
/// In the fifth word of an IPv4 header: this is not the last fragment.
pub const MORE: u16 = 0x2000;
/// The bits of the fragment offset, in units of eight bytes.
pub const OFFSET: u16 = 0x1fff;
const UDP: u8 = 17;

/// See the module.
pub struct Piece<'a> {
    /// The frame up to what the packet carries.
    pub header: &'a [u8],
    /// What it carries.
    pub body: &'a [u8],
    /// Flags and fragment offset.
    pub place: u16,
}

impl<'a> Piece<'a> {
    /// Reads it; nothing if it is no IPv4 packet, or not all of one.
    pub fn of(frame: &'a [u8]) -> Option<Self> {
        let first = usize::from(*frame.get(LINK)?);
        let header = (first & 0x0f) * 4;
        if first >> 4 != 4 || header < 20 {
            return None;
        }
        let total = usize::from(word(frame, LINK + 2)?);
        Some(Self {
            header: frame.get(..LINK + header)?,
            body: frame.get(LINK + header..LINK + total)?,
            place: word(frame, LINK + 6)?,
        })
    }

    /// Where in the packet it belongs, in bytes.
    pub fn offset(&self) -> usize {
        usize::from(self.place & OFFSET) * 8
    }

    /// Whether others follow it.
    pub const fn has_more(&self) -> bool {
        self.place & MORE != 0
    }

    /// Whether it is one of a datagram's.
    pub fn is_udp(&self) -> bool {
        self.header.get(LINK + 9) == Some(&UDP)
    }

    /// Gives the datagram behind such a header a checksum if it has none: IPv6 wants one (RFC 7915 §4.5),
    /// and of fragments it could not be told.
    pub fn give_checksum(&self, datagram: &mut [u8]) -> Option<()> {
        if word(datagram, 6)? != 0 {
            return Some(());
        }
        let length = u32::from(word(datagram, 4)?);
        let addresses = self.header.get(LINK + 12..LINK + 20)?;
        let pseudo = sum(length + u32::from(UDP), addresses);
        let check = match !sum(u32::from(pseudo), datagram) {
            0 => 0xffff,
            check => check,
        };
        datagram
            .get_mut(6..8)?
            .copy_from_slice(&check.to_be_bytes());
        Some(())
    }
}

/// The ones' complement sum of bytes, and of what was before.
pub fn sum(before: u32, bytes: &[u8]) -> u16 {
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

/// The word at this place.
pub fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let word = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(word.try_into().ok()?))
}
