//! An IPv4 prefix as people write it, and the hosts in it by number.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// An IPv4 prefix; a bare address is a prefix of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    address: Ipv4Addr,
    length: u8,
}

impl Prefix {
    /// Returns the address as it was written, host bits and all.
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Returns the first address, host bits cleared.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() & self.mask())
    }

    /// Returns how many bits are the network's.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Returns the address `number` above the network's, or nothing if it is outside the prefix.
    pub fn host(self, number: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from_bits(self.network().to_bits().checked_add(number)?);
        self.contains(address).then_some(address)
    }

    /// Says whether `address` is in the prefix.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.network().to_bits()
    }

    fn mask(self) -> u32 {
        u32::MAX
            .checked_shl(32 - u32::from(self.length))
            .unwrap_or(0)
    }
}

impl FromStr for Prefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::Prefix {
            text: text.to_owned(),
        };
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        let address = address.parse().map_err(|_| bad())?;
        let length = length
            .parse()
            .ok()
            .filter(|length| *length <= 32)
            .ok_or_else(bad)?;
        Ok(Self { address, length })
    }
}

impl TryFrom<String> for Prefix {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Prefix> for String {
    /// Host bits and all, unlike what people are shown: an interface's address is one of these.
    fn from(prefix: Prefix) -> Self {
        format!("{}/{}", prefix.address, prefix.length)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.length)
    }
}

#[cfg(test)]
mod tests;
