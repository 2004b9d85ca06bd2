//! Bytes, read from the front.

use std::net::Ipv4Addr;

/// What is left to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes, if there are so many.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn ip4(&mut self) -> Option<Ipv4Addr> {
        self.array::<4>().map(Ipv4Addr::from)
    }

    /// What stands behind a length of one byte.
    pub fn sized8(&mut self) -> Option<Self> {
        let length = self.u8()?;
        self.bytes(usize::from(length)).map(Self)
    }

    /// What stands behind a length of two bytes.
    pub fn sized16(&mut self) -> Option<Self> {
        let length = self.u16()?;
        self.bytes(usize::from(length)).map(Self)
    }
}
