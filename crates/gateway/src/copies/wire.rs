//! A copy as bytes. All members have the same [`FORMAT`] or do not copy to each other.
//!
//! ```text
//! key     4 or 6 │ protocol │ asked: source, target, ports                     numbers are big-endian,
//! value   sent: source, target, ports │ deltas 4 × u16 │ seen │ age u32 │ rule u64   but for the deltas
//! ```
//!
//! The deltas are as packets on a little-endian machine need them (as all that this runs on are).

use abi::{Address, FlowKey, Ip4, Ip6, Port, Protocol, Tuple};

use super::FlowCopy;

/// Of which format keys and values are.
pub const FORMAT: u32 = 1;

/// A copy of either kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Any {
    /// Both sides have IPv4 addresses.
    V4(FlowCopy),
    /// One side has IPv6, or both have.
    V6(FlowCopy<Ip6>),
}

/// Which flow, by the key of its way out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Which {
    /// Both sides have IPv4 addresses.
    V4(FlowKey),
    /// One side has IPv6, or both have.
    V6(FlowKey<Ip6>),
}

/// Bytes that are no copy of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Too few, or too many.
    #[error("{0} bytes in the place of {1}")]
    Length(usize, usize),
    /// Addresses of neither version.
    #[error("addresses of version {0}")]
    Version(u8),
    /// A protocol that is not translated.
    #[error("protocol {0}")]
    Protocol(u8),
}

const VERSION4: u8 = 4;
const VERSION6: u8 = 6;
/// Bytes of a value beside the tuple.
const REST: usize = 4 * 2 + 2 + 4 + 8;

impl<A: Address> FlowCopy<A> {
    /// The key under which it is told.
    pub fn key(&self) -> Vec<u8> {
        key(&self.outbound())
    }

    /// What is told.
    pub fn value(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of::<Tuple<A>>() + REST);
        write(&self.sent, &mut bytes);
        for (ip, l4) in self.deltas {
            bytes.extend(ip.to_le_bytes());
            bytes.extend(l4.to_le_bytes());
        }
        bytes.extend(self.seen);
        bytes.extend(self.age.to_be_bytes());
        bytes.extend(self.rule.to_be_bytes());
        bytes
    }

    fn read(outbound: FlowKey<A>, value: &[u8]) -> Result<Self, Malformed> {
        let size = size_of::<Tuple<A>>();
        let wrong = Malformed::Length(value.len(), size + REST);
        let (tuple, rest) = value.split_at_checked(size).ok_or(wrong)?;
        let rest: &[u8; REST] = rest.try_into().map_err(|_| wrong)?;
        let [
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            out,
            back,
            age @ ..,
            r0,
            r1,
            r2,
            r3,
            r4,
            r5,
            r6,
            r7,
        ] = *rest;
        let protocol = Protocol::from_number(outbound.protocol);
        Ok(Self {
            protocol: protocol.ok_or(Malformed::Protocol(outbound.protocol))?,
            asked: outbound.tuple,
            sent: tuple_of(tuple).ok_or(wrong)?,
            deltas: [
                (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])),
                (u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h])),
            ],
            seen: [out, back],
            age: u32::from_be_bytes(age),
            rule: u64::from_be_bytes([r0, r1, r2, r3, r4, r5, r6, r7]),
        })
    }
}

/// The key under which a flow is told, by the key of its way out.
pub fn key<A: Address>(outbound: &FlowKey<A>) -> Vec<u8> {
    let version = match A::LENGTH == Ip4::LENGTH {
        true => VERSION4,
        false => VERSION6,
    };
    let mut bytes = vec![version, outbound.protocol];
    write(&outbound.tuple, &mut bytes);
    bytes
}

impl Any {
    /// The bucket that it is of.
    pub fn bucket(&self) -> u8 {
        match self {
            Self::V4(copy) => copy.bucket(),
            Self::V6(copy) => copy.bucket(),
        }
    }

    /// The copy that these bytes are.
    ///
    /// # Errors
    ///
    /// Why they are none.
    pub fn read(key: &[u8], value: &[u8]) -> Result<Self, Malformed> {
        Ok(match Which::read(key)? {
            Which::V4(outbound) => Self::V4(FlowCopy::read(outbound, value)?),
            Which::V6(outbound) => Self::V6(FlowCopy::read(outbound, value)?),
        })
    }
}

impl Which {
    /// The flow that these bytes name.
    ///
    /// # Errors
    ///
    /// Why they name none.
    pub fn read(key: &[u8]) -> Result<Self, Malformed> {
        let Some(([version, protocol], tuple)) = key.split_first_chunk() else {
            return Err(Malformed::Length(key.len(), 2));
        };
        let protocol = Protocol::from_number(*protocol).ok_or(Malformed::Protocol(*protocol))?;
        let wrong = |size: usize| Malformed::Length(tuple.len(), size);
        Ok(match *version {
            VERSION4 => Self::V4(FlowKey::new(
                protocol,
                tuple_of(tuple).ok_or(wrong(size_of::<Tuple>()))?,
            )),
            VERSION6 => Self::V6(FlowKey::new(
                protocol,
                tuple_of(tuple).ok_or(wrong(size_of::<Tuple<Ip6>>()))?,
            )),
            other => return Err(Malformed::Version(other)),
        })
    }
}

fn write<A: Address>(tuple: &Tuple<A>, bytes: &mut Vec<u8>) {
    for address in [tuple.source, tuple.target] {
        match (A::LENGTH == Ip4::LENGTH, address.ip4()) {
            (true, Some(Ip4(address))) => bytes.extend(address),
            (true, None) | (false, _) => bytes.extend(address.wide().0),
        }
    }
    for port in [tuple.source_port, tuple.target_port] {
        bytes.extend(port.get().to_be_bytes());
    }
}

fn tuple_of<A: Address>(bytes: &[u8]) -> Option<Tuple<A>> {
    let length = (A::LENGTH / 8) as usize;
    let (source, rest) = bytes.split_at_checked(length)?;
    let (target, ports) = rest.split_at_checked(length)?;
    let [a, b, c, d] = *<&[u8; 4]>::try_from(ports).ok()?;
    Some(Tuple {
        source: address(source)?,
        target: address(target)?,
        source_port: Port::new(u16::from_be_bytes([a, b])),
        target_port: Port::new(u16::from_be_bytes([c, d])),
    })
}

fn address<A: Address>(bytes: &[u8]) -> Option<A> {
    match A::LENGTH == Ip4::LENGTH {
        true => Some(A::of_ip4(Ip4(bytes.try_into().ok()?))),
        false => Some(A::of_ip6(Ip6(bytes.try_into().ok()?))),
    }
}
