//! The first frame of each side: who it is and what it knows.

use std::ops::RangeInclusive;

use super::{Cursor, Fault, short};
use crate::{greeting::Name, limits::NAME_MAX};

const MAGIC: [u8; 4] = *b"EGRR";
/// Bytes of the longest, with room for what later versions say.
pub(super) const BODY_MAX: usize = 1024;

const SENDER: u8 = 1;
const RECEIVER_NEW: u8 = 2;
const RECEIVER: u8 = 3;

const _: () = assert!(4 + 2 + 2 + 4 + 2 * (1 + NAME_MAX) + 1 + 16 <= BODY_MAX);

/// Who a side is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The versions that it speaks.
    pub versions: RangeInclusive<u16>,
    /// Of which format its keys and values are.
    pub format: u32,
    /// Its cluster.
    pub cluster: Name,
    /// What it is called.
    pub member: Name,
    /// Whether it sends or receives, and what it knows as that.
    pub role: Role,
}

/// What a side does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends.
    Sender {
        /// Another one after each start.
        instance: u64,
    },
    /// It receives.
    Receiver {
        /// The sender's instance that it knows and the last number of it that it has applied.
        known: Option<(u64, u64)>,
    },
}

impl Hello {
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(MAGIC);
        bytes.extend(self.versions.start().to_be_bytes());
        bytes.extend(self.versions.end().to_be_bytes());
        bytes.extend(self.format.to_be_bytes());
        for name in [&self.cluster, &self.member] {
            bytes.push(short(name.as_str().len()));
            bytes.extend(name.as_str().as_bytes());
        }
        match self.role {
            Role::Sender { instance } => {
                bytes.push(SENDER);
                bytes.extend(instance.to_be_bytes());
            }
            Role::Receiver { known: None } => bytes.push(RECEIVER_NEW),
            Role::Receiver {
                known: Some((instance, applied)),
            } => {
                bytes.push(RECEIVER);
                bytes.extend(instance.to_be_bytes());
                bytes.extend(applied.to_be_bytes());
            }
        }
    }

    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, (usize, Fault)> {
        let at = cursor.at;
        if cursor.array()? != MAGIC {
            return Err((at, Fault::Magic));
        }
        let at = cursor.at;
        let (lowest, highest) = (cursor.u16()?, cursor.u16()?);
        if lowest > highest {
            return Err((at, Fault::Versions(lowest, highest)));
        }
        let hello = Self {
            versions: lowest..=highest,
            format: cursor.u32()?,
            cluster: name(cursor)?,
            member: name(cursor)?,
            role: role(cursor)?,
        };
        // What a later version says behind all this is not for us.
        if highest > *crate::greeting::VERSIONS.end() {
            cursor.bytes(cursor.left())?;
        }
        Ok(hello)
    }
}

fn name(cursor: &mut Cursor<'_>) -> Result<Name, (usize, Fault)> {
    let length = usize::from(cursor.u8()?);
    let at = cursor.at;
    let text = str::from_utf8(cursor.bytes(length)?).map_err(|_| (at, Fault::Name))?;
    Name::new(text).map_err(|_| (at, Fault::Name))
}

fn role(cursor: &mut Cursor<'_>) -> Result<Role, (usize, Fault)> {
    let at = cursor.at;
    match cursor.u8()? {
        SENDER => {
            let instance = cursor.u64()?;
            Ok(Role::Sender { instance })
        }
        RECEIVER_NEW => Ok(Role::Receiver { known: None }),
        RECEIVER => {
            let known = Some((cursor.u64()?, cursor.u64()?));
            Ok(Role::Receiver { known })
        }
        other => Err((at, Fault::Role(other))),
    }
}
