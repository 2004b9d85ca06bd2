//! Versions of IP as BGP numbers them, and prefixes as it writes them (RFC 4271 §4.3, RFC 4760 §5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::reader::Reader;

/// Unicast of a version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4,
    /// AFI 2, SAFI 1.
    Ipv6,
}

/// SAFI of unicast forwarding.
pub(crate) const UNICAST: u8 = 1;

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The address family's number.
    pub const fn afi(self) -> u16 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv6 => 2,
        }
    }

    /// The family with these numbers, if it is one of ours.
    pub const fn of(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, UNICAST) => Some(Self::Ipv4),
            (2, UNICAST) => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// The family of a prefix.
    pub const fn of_net(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::Ipv4,
            IpNet::V6(_) => Self::Ipv6,
        }
    }

    /// `ipv4` or `ipv6`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// Writes a prefix: its length in bits, and as many bytes as hold them.
pub(crate) fn write(net: &IpNet, bytes: &mut Vec<u8>) {
    let length = net.prefix_len();
    let count = usize::from(length).div_ceil(8);
    bytes.push(length);
    match net.network() {
        IpAddr::V4(address) => bytes.extend(address.octets().iter().take(count)),
        IpAddr::V6(address) => bytes.extend(address.octets().iter().take(count)),
    }
}

/// Reads one prefix; nothing if there is none of this family. Bits behind its length mean nothing.
pub(crate) fn read(reader: &mut Reader<'_>, family: Family) -> Option<IpNet> {
    let length = reader.u8()?;
    let bytes = reader.bytes(usize::from(length).div_ceil(8))?;
    let address: IpAddr = match family {
        Family::Ipv4 => {
            let mut octets = [0; 4];
            octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Ipv4Addr::from(octets).into()
        }
        Family::Ipv6 => {
            let mut octets = [0; 16];
            octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Ipv6Addr::from(octets).into()
        }
    };
    IpNet::new(address, length).ok().map(|net| net.trunc())
}

/// Reads prefixes to the end; nothing if what is there is none.
pub(crate) fn read_all(mut reader: Reader<'_>, family: Family) -> Option<Vec<IpNet>> {
    let mut nets = Vec::new();
    while !reader.is_empty() {
        nets.push(read(&mut reader, family)?);
    }
    Some(nets)
}
