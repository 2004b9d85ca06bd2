//! Addresses and prefixes of both versions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::{Ip6, Prefix64, prefix64};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Complaint, complaint, quoted};

/// What no packet can come back to.
const UNUSABLE: [(IpNet, &str); 9] = [
    (v4([0, 0, 0, 0], 8), "\"this network\" (RFC 1122)"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([240, 0, 0, 0], 4), "reserved (RFC 1112), or broadcast"),
    (
        v6([0, 0, 0, 0, 0, 0, 0, 0], 96),
        "loopback, or reserved (RFC 4291)",
    ),
    (MAPPED, "of IPv4 addresses as programs write them"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local"),
    (
        v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
        "site-local (RFC 3879)",
    ),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast"),
];

/// IPv4 addresses in the clothes of IPv6 (RFC 4291 §2.5.5.2): on no wire.
const MAPPED: IpNet = v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96);

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], length: u8) -> IpNet {
    let address = Ipv6Addr::new(a, b, c, d, e, f, g, h);
    IpNet::V6(Ipv6Net::new_assert(address, length))
}

/// An address, which is a prefix of one, or a prefix.
pub(in super::super) fn prefix(word: &str) -> Result<IpNet, Complaint> {
    let (address, length) = match word.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (word, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(no_address(word));
    };
    let Some(length) = length else {
        return not_mapped(IpNet::from(address), word);
    };
    let net = length
        .parse()
        .ok()
        .and_then(|length| IpNet::new(address, length).ok());
    let Some(net) = net else {
        let (longest, usual) = match address {
            IpAddr::V4(_) => (32, 24),
            IpAddr::V6(_) => (128, 64),
        };
        let message = format!("{} has no prefix length from 0 to {longest}", quoted(word));
        let masked = length
            .parse()
            .ok()
            .and_then(|mask| IpNet::with_netmask(address, mask).ok());
        let help = match masked {
            Some(net) => format!("write the mask as a length: `{}`", net.trunc()),
            None => format!("write `{address}/{usual}`, or `{address}` for this one address"),
        };
        return Err(complaint(message, help));
    };
    let whole = net.trunc();
    if whole != net {
        let message = format!(
            "{} has bits set behind its first {}",
            quoted(word),
            net.prefix_len()
        );
        let help = format!("write `{whole}` for the whole prefix, or `{address}` for one address");
        return Err(complaint(message, help));
    }
    not_mapped(net, word)
}

/// A packet never has such an address, so whoever writes one means the IPv4 one.
fn not_mapped(net: IpNet, word: &str) -> Result<IpNet, Complaint> {
    let (true, IpNet::V6(mapped)) = (MAPPED.contains(&net), net) else {
        return Ok(net);
    };
    let message = format!(
        "{} is on no wire: it is IPv4, as programs write it",
        quoted(word)
    );
    let meant = mapped.network().to_ipv4_mapped();
    let meant = meant.zip(mapped.prefix_len().checked_sub(96));
    let help = match meant {
        Some((address, 32)) => format!("write `{address}`"),
        Some((address, length)) => format!("write `{address}/{length}`"),
        None => "write the IPv4 address itself".to_owned(),
    };
    Err(complaint(message, help))
}

fn no_address(word: &str) -> Complaint {
    let message = format!("{} is not an IP address or prefix", quoted(word));
    let bound = |text: &str| text.trim().parse::<IpAddr>().is_ok();
    if word
        .split_once('-')
        .is_some_and(|(first, last)| bound(first) && bound(last))
    {
        return complaint(
            message,
            "write a range as prefixes: `192.0.2.16/30` is .16 to .19",
        );
    }
    if matches!(word, "any" | "all" | "*" | "0/0") {
        return complaint(
            message,
            "write `0.0.0.0/0` for every IPv4 address, `::/0` for every IPv6 one",
        );
    }
    if word.contains(':') {
        let unbracketed = word.trim_matches(['[', ']']);
        if unbracketed != word && unbracketed.parse::<Ipv6Addr>().is_ok() {
            return complaint(message, format!("write `{unbracketed}`, without brackets"));
        }
        if word.contains('%') {
            return complaint(message, "write the address without `%` and an interface");
        }
        return complaint(
            message,
            "write up to eight groups of hexadecimal digits, `2001:db8::1`, or a prefix, \
             `2001:db8::/32`",
        );
    }
    if word.contains(|c: char| c.is_ascii_alphabetic()) {
        return complaint(message, "write the address itself: names are not looked up");
    }
    complaint(
        message,
        "write four numbers from 0 to 255, `10.0.0.1`, or a prefix, `10.0.0.0/8`",
    )
}

/// The addresses of a pool's entry, as a prefix.
pub(in super::super) fn pool_addresses(word: &str) -> Result<IpNet, Complaint> {
    let net = prefix(word)?;
    match unusable(&net) {
        Some((unusable, what)) => {
            let message = format!("no reply can come back to {}", quoted(word));
            let help = format!(
                "`{unusable}` is {what}: write addresses that your routers send to this gateway"
            );
            Err(complaint(message, help))
        }
        None => Ok(net),
    }
}

/// An IPv4 prefix.
pub(in super::super) fn prefix4(word: &str) -> Result<Ipv4Net, Complaint> {
    match prefix(word)? {
        IpNet::V4(net) => Ok(net),
        IpNet::V6(_) => {
            let message = format!("{} is no IPv4 prefix", quoted(word));
            Err(complaint(
                message,
                "write an IPv4 prefix, `198.51.100.0/24`",
            ))
        }
    }
}

/// The address of one host.
pub(in super::super) fn host(word: &str) -> Result<IpAddr, Complaint> {
    let net = prefix(word)?;
    if net.prefix_len() != net.max_prefix_len() {
        let message = format!("{} is not one host", quoted(word));
        let help = match net {
            IpNet::V4(_) => "write one address, `10.0.0.5`",
            IpNet::V6(_) => "write one address, `2001:db8::5`",
        };
        return Err(complaint(message, help));
    }
    match unusable(&net) {
        Some((unusable, what)) => {
            let message = format!("no host can be reached at {}", quoted(word));
            Err(complaint(message, format!("`{unusable}` is {what}")))
        }
        None => Ok(net.network()),
    }
}

/// The address of a router: also one that only its link knows.
pub(in super::super) fn router(word: &str) -> Result<IpAddr, Complaint> {
    match word.parse() {
        Ok(IpAddr::V6(address)) if address.is_unicast_link_local() => Ok(IpAddr::V6(address)),
        Ok(_) | Err(_) => host(word),
    }
}

/// What stands before and behind the colon of a port, if there is one: an IPv6 address has colons of its
/// own, and stands in brackets then.
pub(in super::super) fn host_and_port(word: &str) -> (&str, Option<&str>) {
    if let Some((host, behind)) = word.strip_prefix('[').and_then(|it| it.split_once(']')) {
        return match behind.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if behind.is_empty() => (host, None),
            None => (word, None),
        };
    }
    match word.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        Some(_) | None => (word, None),
    }
}

/// A prefix whose addresses stand for IPv4 ones.
pub(in super::super) fn prefix64(word: &str) -> Result<Prefix64, Complaint> {
    let IpNet::V6(net) = prefix(word)? else {
        let message = format!("{} is no IPv6 prefix", quoted(word));
        let help = "write `64:ff9b::/96`, or a prefix of your own network";
        return Err(complaint(message, help));
    };
    if let Some((unusable, what)) = unusable(&IpNet::V6(net)) {
        let message = format!("no client can send to {}", quoted(word));
        let help = format!("`{unusable}` is {what}: write a prefix that your routers send here");
        return Err(complaint(message, help));
    }
    let (address, length) = (net.network(), u32::from(net.prefix_len()));
    if !prefix64::LENGTHS.contains(&length) {
        let message = format!("a prefix of {length} bits does not say where the IPv4 address is");
        let help = "write a prefix of 32, 40, 48, 56, 64 or 96 bits (RFC 6052 §2.2)";
        return Err(complaint(message, help));
    }
    Prefix64::new(Ip6(address.octets()), length).ok_or_else(|| {
        let message = format!("bits 64 to 71 of {} are not zero", quoted(word));
        complaint(message, "write a prefix in which they are (RFC 6052 §2.2)")
    })
}

fn unusable(net: &IpNet) -> Option<&'static (IpNet, &'static str)> {
    let overlaps = |other: &IpNet| other.contains(net) || net.contains(other);
    UNUSABLE.iter().find(|(unusable, _)| overlaps(unusable))
}
