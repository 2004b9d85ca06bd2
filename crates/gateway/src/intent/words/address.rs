//! IPv4 addresses and prefixes.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

use super::{Complaint, complaint, quoted};

/// What no packet can come back to.
const UNUSABLE: [(Ipv4Net, &str); 4] = [
    (
        Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8),
        "\"this network\" (RFC 1122)",
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
        "loopback",
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4),
        "multicast",
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4),
        "reserved (RFC 1112), or broadcast",
    ),
];

/// An address, which is a prefix of one, or a prefix.
pub(in super::super) fn prefix(word: &str) -> Result<Ipv4Net, Complaint> {
    let (address, length) = match word.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (word, None),
    };
    if address.parse::<Ipv6Addr>().is_ok() {
        let message = format!("{} is IPv6, which is not translated yet", quoted(word));
        return Err(complaint(
            message,
            "remove it: addresses and prefixes are IPv4 for now",
        ));
    }
    let Ok(address) = address.parse::<Ipv4Addr>() else {
        return Err(no_address(word));
    };
    let Some(length) = length else {
        return Ok(Ipv4Net::from(address));
    };
    let net = length
        .parse()
        .ok()
        .and_then(|length| Ipv4Net::new(address, length).ok());
    let Some(net) = net else {
        let message = format!("{} has no prefix length from 0 to 32", quoted(word));
        let masked = length
            .parse()
            .ok()
            .and_then(|mask| Ipv4Net::with_netmask(address, mask).ok());
        let help = match masked {
            Some(net) => format!("write the mask as a length: `{}`", net.trunc()),
            None => format!("write `{address}/24`, or `{address}` for this one address"),
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
    Ok(net)
}

fn no_address(word: &str) -> Complaint {
    let message = format!("{} is not an IPv4 address or prefix", quoted(word));
    let bound = |text: &str| text.trim().parse::<Ipv4Addr>().is_ok();
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
        return complaint(message, "write `0.0.0.0/0` for every address");
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
pub(in super::super) fn pool_addresses(word: &str) -> Result<Ipv4Net, Complaint> {
    let net = prefix(word)?;
    match unusable(net) {
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

/// The address of one host.
pub(in super::super) fn host(word: &str) -> Result<Ipv4Addr, Complaint> {
    let net = prefix(word)?;
    if net.prefix_len() != 32 {
        let message = format!("{} is not one host", quoted(word));
        return Err(complaint(message, "write one address, `10.0.0.5`"));
    }
    match unusable(net) {
        Some((unusable, what)) => {
            let message = format!("no host can be reached at {}", quoted(word));
            Err(complaint(message, format!("`{unusable}` is {what}")))
        }
        None => Ok(net.network()),
    }
}

fn unusable(net: Ipv4Net) -> Option<&'static (Ipv4Net, &'static str)> {
    let overlaps = |other: &Ipv4Net| other.contains(&net) || net.contains(other);
    UNUSABLE.iter().find(|(unusable, _)| overlaps(unusable))
}
