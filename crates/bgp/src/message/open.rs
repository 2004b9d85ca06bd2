//! OPEN: who speaks, and what they can (RFC 4271 §4.2, RFC 5492, RFC 9072).

use std::net::Ipv4Addr;

use super::notification::Notification;
use crate::{capability::Capabilities, family::Family, reader::Reader};

/// Stands for a number that does not fit into two bytes (RFC 6793 §9).
pub const AS_TRANS: u16 = 23_456;
const VERSION: u8 = 4;
/// An optional parameter that holds capabilities.
const CAPABILITIES: u8 = 2;
/// Parameters whose lengths have two bytes follow (RFC 9072 §2).
const EXTENDED: u8 = 255;

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The autonomous system, also one that two bytes cannot hold.
    pub asn: u32,
    /// How long it waits in silence, in seconds.
    pub hold_time: u16,
    /// The BGP identifier.
    pub id: Ipv4Addr,
    /// What it can.
    pub capabilities: Capabilities,
}

impl Open {
    /// The body.
    pub fn body(&self) -> Vec<u8> {
        let mut capabilities = Vec::new();
        self.capabilities.write(&mut capabilities);
        let asn = u16::try_from(self.asn).unwrap_or(AS_TRANS);
        let mut body = vec![VERSION];
        body.extend(asn.to_be_bytes());
        body.extend(self.hold_time.to_be_bytes());
        body.extend(self.id.octets());
        match u8::try_from(capabilities.len()) {
            _ if capabilities.is_empty() => body.push(0),
            Ok(length) if length <= u8::MAX - 2 => {
                body.extend([length + 2, CAPABILITIES, length]);
            }
            Ok(_) | Err(_) => {
                let length = u16::try_from(capabilities.len()).unwrap_or(u16::MAX);
                body.extend([EXTENDED, EXTENDED]);
                body.extend(length.saturating_add(3).to_be_bytes());
                body.push(CAPABILITIES);
                body.extend(length.to_be_bytes());
            }
        }
        body.extend(capabilities);
        body
    }

    /// Reads a body.
    ///
    /// # Errors
    ///
    /// The NOTIFICATION that the sender is to be told (RFC 4271 §6.2).
    pub fn read(body: &[u8]) -> Result<Self, Notification> {
        let mut reader = Reader(body);
        let version = reader.u8().ok_or(Notification::OPEN_ERROR)?;
        if version != VERSION {
            return Err(Notification::unsupported_version());
        }
        let fixed = (reader.u16(), reader.u16(), reader.ip4(), reader.u8());
        let (Some(asn), Some(hold_time), Some(id), Some(length)) = fixed else {
            return Err(Notification::OPEN_ERROR);
        };
        let mut capabilities = Capabilities::default();
        parameters(reader, length, &mut capabilities)?;
        if capabilities.families.is_empty() {
            capabilities.families.insert(Family::Ipv4);
        }
        if id.is_unspecified() {
            return Err(Notification::BAD_IDENTIFIER);
        }
        if matches!(hold_time, 1 | 2) {
            return Err(Notification::UNACCEPTABLE_HOLD_TIME);
        }
        let asn = capabilities.four_octet.unwrap_or(u32::from(asn));
        if asn == 0 {
            return Err(Notification::BAD_PEER_AS);
        }
        Ok(Self {
            asn,
            hold_time,
            id,
            capabilities,
        })
    }
}

fn parameters(
    mut reader: Reader<'_>,
    length: u8,
    capabilities: &mut Capabilities,
) -> Result<(), Notification> {
    let is_extended = length != 0 && reader.0.first() == Some(&EXTENDED);
    let parameters = if is_extended {
        reader.u8().and_then(|_| reader.sized16())
    } else {
        reader.bytes(usize::from(length)).map(Reader)
    };
    let mut parameters = parameters.ok_or(Notification::OPEN_ERROR)?;
    while !parameters.is_empty() {
        let kind = parameters.u8().ok_or(Notification::OPEN_ERROR)?;
        let value = match is_extended {
            true => parameters.sized16(),
            false => parameters.sized8(),
        };
        let value = value.ok_or(Notification::OPEN_ERROR)?;
        if kind != CAPABILITIES {
            return Err(Notification::UNSUPPORTED_PARAMETER);
        }
        capabilities.read(value).ok_or(Notification::OPEN_ERROR)?;
    }
    Ok(())
}
