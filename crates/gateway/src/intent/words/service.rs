//! Ports, and services: `tcp/443`, `tcp/8000-8999`, `udp`, `icmp`, `gre`.

use super::{Complaint, complaint, quoted};
use crate::intent::{PortRange, Protocol, Service};

/// Names that people write instead of numbers. Only for suggestions: which number a name has, is
/// another question on every machine.
const WELL_KNOWN: [(&str, &str); 12] = [
    ("http", "tcp/80"),
    ("https", "tcp/443"),
    ("ssh", "tcp/22"),
    ("dns", "udp/53"),
    ("domain", "udp/53"),
    ("ntp", "udp/123"),
    ("smtp", "tcp/25"),
    ("ldap", "tcp/389"),
    ("ldaps", "tcp/636"),
    ("mysql", "tcp/3306"),
    ("postgres", "tcp/5432"),
    ("postgresql", "tcp/5432"),
];

/// A port, or a range of ports.
pub(in super::super) fn port_range(word: &str) -> Result<PortRange, Complaint> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    if first.is_empty() || last.is_empty() {
        let message = format!("{} is not a range of ports", quoted(word));
        return Err(complaint(message, "write both ends: `1024-65535`"));
    }
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        let message = format!("the range {} runs backwards", quoted(word));
        return Err(complaint(message, format!("write `{last}-{first}`")));
    }
    Ok(PortRange { first, last })
}

/// A port.
pub(in super::super) fn port(word: &str) -> Result<u16, Complaint> {
    let word = word.trim();
    match word.parse::<u16>() {
        Ok(0) => Err(complaint(
            "port 0 cannot be used",
            "ports are numbers from 1 to 65535",
        )),
        Ok(port) => Ok(port),
        Err(_) if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) => {
            let message = format!("there is no port {}", quoted(word));
            Err(complaint(message, "ports are numbers from 1 to 65535"))
        }
        Err(_) => {
            let help = match well_known(word) {
                Some(service) => {
                    let number = service.split_once('/').map_or(service, |(_, port)| port);
                    format!("write the number, such as `{number}`: names are not looked up")
                }
                None => "write a number from 1 to 65535, or two with `-` between".to_owned(),
            };
            Err(complaint(format!("{} is not a port", quoted(word)), help))
        }
    }
}

fn well_known(word: &str) -> Option<&'static str> {
    WELL_KNOWN
        .iter()
        .find(|(name, _)| *name == word.to_lowercase())
        .map(|(_, service)| *service)
}

/// What a flow asks for at its destination.
pub(in super::super) fn service(word: &str) -> Result<Service, Complaint> {
    let (name, ports) = match word.split_once('/') {
        Some((name, ports)) => (name, Some(ports)),
        None => (word, None),
    };
    let Some(protocol) = protocol(name) else {
        return Err(no_service(word));
    };
    let Some(ports) = ports else {
        return Ok(Service::Protocol(protocol));
    };
    match protocol {
        Protocol::Icmp => {
            let message = format!("{}: ICMP has no ports", quoted(word));
            Err(complaint(message, "write `icmp`"))
        }
        Protocol::Gre | Protocol::Esp => {
            let message = format!("{}: {} has no ports", quoted(word), name.to_uppercase());
            Err(complaint(message, format!("write `{name}`")))
        }
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp => {
            let PortRange { first, last } = port_range(ports)?;
            Ok(Service::Ports(protocol, first, last))
        }
    }
}

fn protocol(name: &str) -> Option<Protocol> {
    match name {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "icmp" => Some(Protocol::Icmp),
        "sctp" => Some(Protocol::Sctp),
        "gre" => Some(Protocol::Gre),
        "esp" => Some(Protocol::Esp),
        _ => None,
    }
}

fn no_service(word: &str) -> Complaint {
    let message = format!("{} is not a service", quoted(word));
    if matches!(word, "any" | "all" | "*") {
        return complaint(message, "leave `services` out for every service");
    }
    match likely(word) {
        Some(service) => complaint(message, format!("write `{service}`")),
        None => complaint(
            message,
            "write `tcp`, `udp`, `icmp`, `sctp`, `gre` or `esp`, and ports behind the first two and \
             SCTP: `tcp/443`, `udp/5000-5999`; no other protocol is translated",
        ),
    }
}

/// The service that a word wanted to be: another order, another separator, capitals, a name, or no
/// protocol.
fn likely(word: &str) -> Option<String> {
    let lower = word.to_lowercase();
    if let Some(service) = well_known(&lower) {
        return Some(service.to_owned());
    }
    if port_range(&lower).is_ok() {
        return Some(format!("tcp/{lower}"));
    }
    let separators = ['/', ':', ' ', '-', '_'];
    let turned = lower
        .split_once(separators)
        .map(|(ports, name)| format!("{name}/{ports}"));
    let separated = lower
        .split_once(separators)
        .map(|(name, ports)| format!("{name}/{ports}"));
    [Some(lower.clone()), separated, turned]
        .into_iter()
        .flatten()
        .find(|candidate| is_service(candidate))
}

fn is_service(word: &str) -> bool {
    match word.split_once('/') {
        None => protocol(word).is_some(),
        Some((name, ports)) => match protocol(name) {
            Some(Protocol::Tcp | Protocol::Udp | Protocol::Sctp) => port_range(ports).is_ok(),
            Some(Protocol::Icmp | Protocol::Gre | Protocol::Esp) | None => false,
        },
    }
}
