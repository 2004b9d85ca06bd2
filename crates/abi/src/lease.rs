//! What the daemon remembers of a mapping that was asked for while it ran, where its successor finds
//! it. The packet path does not look at it.

use crate::limits::OWNER_BYTES;

/// For how long a mapping was granted, and to whom.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// When it ends, in nanoseconds of `CLOCK_MONOTONIC`.
    pub until: u64,
    /// Who may renew and withdraw it: UTF-8, zero-padded; all zero if anybody may.
    pub owner: [u8; OWNER_BYTES],
}

const _: () = assert!(size_of::<Lease>() == 40);
