//! IPv6 beside IPv4: every address, prefix and route of a site once more, in `2001:db8::/96`.
//!
//! So a test that knows a host's IPv4 address knows its IPv6 one: `10.1.0.11` is also
//! `2001:db8::10.1.0.11`, and the external address `192.0.2.10` also `2001:db8::192.0.2.10`.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::Prefix;

/// Bits that stand before an IPv4 address.
const LEAD_BITS: u8 = 96;

/// Returns the IPv6 address that a host has beside an IPv4 one.
pub const fn mirror(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = address.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, high, low)
}

/// Returns the same line for `ip -batch` with the mirrors of its addresses; nothing for a line
/// without any, which holds for both.
pub(crate) fn mirrored(line: &str) -> Option<String> {
    let mut is_other = false;
    let words: Vec<String> = line
        .split(' ')
        .map(|word| match word.parse::<Prefix>() {
            Ok(prefix) => {
                is_other = true;
                text(word, prefix)
            }
            Err(_) => word.to_owned(),
        })
        .collect();
    // Nobody else has the address, and who has it is to speak at once.
    let is_address = words.first().is_some_and(|word| word == "address");
    let tail = if is_address { " nodad" } else { "" };
    is_other.then(|| words.join(" ") + tail)
}

/// Returns a prefix of the mirrors.
pub(crate) fn prefix(prefix: Prefix) -> String {
    format!(
        "{}/{}",
        mirror(prefix.network()),
        LEAD_BITS + prefix.length()
    )
}

fn text(word: &str, prefix: Prefix) -> String {
    let address = mirror(prefix.address());
    if word.contains('/') {
        format!("{address}/{}", LEAD_BITS + prefix.length())
    } else {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_ip_is_mirrored_address_by_address() {
        let cases = [
            (
                "address add 10.1.0.11/24 dev eth0",
                "address add 2001:db8::a01:b/120 dev eth0 nodad",
            ),
            (
                "route add default via 10.1.0.1",
                "route add default via 2001:db8::a01:1",
            ),
            (
                "route add 192.0.2.0/28 nexthop via 172.31.1.11 nexthop via 172.31.1.12",
                "route add 2001:db8::c000:200/124 nexthop via 2001:db8::ac1f:10b nexthop via \
                 2001:db8::ac1f:10c",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(mirrored(line).as_deref(), Some(expected));
        }
        assert_eq!(mirrored("link set br0 up"), None);
    }
}
