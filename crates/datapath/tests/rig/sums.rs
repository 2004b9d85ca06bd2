//! Checksums the long way: every byte is summed again (RFC 1071), nothing is patched.

/// Where the IP header of an untagged frame begins.
pub const IP: usize = 14;

/// The one's complement sum of bytes; an odd last byte is followed by zero.
pub fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        [high] => u16::from_be_bytes([*high, 0]),
        _ => 0,
    });
    words.fold(0, ones_add)
}

/// Adds with the carry brought around.
pub fn ones_add(a: u16, b: u16) -> u16 {
    let (sum, carried) = a.overflowing_add(b);
    sum + u16::from(carried)
}

/// The IP header of a frame, options included, and what the packet carries; nothing if the lengths
/// in it contradict each other.
pub fn split(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    let packet = frame.get(IP..)?;
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let packet = packet.get(..total)?;
    (header >= 20).then_some(())?;
    packet.split_at_checked(header)
}

/// The sum that TCP and UDP begin with.
pub fn pseudo_header(header: &[u8], length: usize) -> u16 {
    let addresses = sum(&header[12..20]);
    ones_add(ones_add(addresses, u16::from(header[9])), length as u16)
}

/// Whether the IP header's checksum is right.
pub fn header_is_right(frame: &[u8]) -> bool {
    split(frame).is_some_and(|(header, _)| sum(header) == 0xffff)
}

/// Whether the transport checksum is right; that of a UDP datagram that has none is.
pub fn transport_is_right(frame: &[u8]) -> bool {
    let Some((header, data)) = split(frame) else {
        return false;
    };
    match header[9] {
        1 => data.len() >= 8 && sum(data) == 0xffff,
        6 if data.len() < 20 => false,
        17 if data.len() < 8 => false,
        17 if data[6..8] == [0, 0] => true,
        6 | 17 => ones_add(pseudo_header(header, data.len()), sum(data)) == 0xffff,
        _ => true,
    }
}
