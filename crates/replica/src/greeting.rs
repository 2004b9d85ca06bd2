//! Who talks to whom, and whether the two fit together.

use std::{fmt, ops::RangeInclusive};

use crate::{
    frame::{Hello, Role},
    limits::{Limits, NAME_MAX},
    reason::Reason,
};

/// The versions of the protocol that this code speaks.
pub const VERSIONS: RangeInclusive<u16> = 1..=1;

/// What a cluster or a member is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A name that is longer than [`NAME_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name of {0} bytes, and {NAME_MAX} is the most")]
pub struct NameError(pub usize);

impl Name {
    /// A name, if it is not too long.
    ///
    /// # Errors
    ///
    /// More than [`NAME_MAX`] bytes.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.len() > NAME_MAX {
            return Err(NameError(name.len()));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    /// Quoted, because the other side's may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// What a side knows before anything is said.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which cluster both must be of.
    pub cluster: Name,
    /// What we are called.
    pub member: Name,
    /// What the other side must be called.
    pub peer: Name,
    /// Of which format keys and values are; both sides must have the same.
    pub format: u32,
    /// Versions of the protocol to speak: [`VERSIONS`], or fewer of them.
    pub versions: RangeInclusive<u16>,
    /// How much there may be of anything.
    pub limits: Limits,
}

impl Settings {
    pub(crate) fn hello(&self, role: Role) -> Hello {
        Hello {
            versions: self.versions.clone(),
            format: self.format,
            cluster: self.cluster.clone(),
            member: self.member.clone(),
            role,
        }
    }

    /// The version to speak with whoever says this.
    pub(crate) fn judge(&self, hello: &Hello) -> Result<u16, Reason> {
        let version =
            negotiate(&self.versions, &hello.versions).ok_or_else(|| Reason::Version {
                ours: self.versions.clone(),
                theirs: hello.versions.clone(),
            })?;
        if hello.cluster != self.cluster {
            return Err(Reason::Cluster {
                ours: self.cluster.clone(),
                theirs: hello.cluster.clone(),
            });
        }
        if hello.member != self.peer {
            return Err(Reason::Member {
                expected: self.peer.clone(),
                theirs: hello.member.clone(),
            });
        }
        if hello.format != self.format {
            return Err(Reason::Format {
                ours: self.format,
                theirs: hello.format,
            });
        }
        Ok(version)
    }
}

/// The highest version that is in both, if there is one.
pub fn negotiate(ours: &RangeInclusive<u16>, theirs: &RangeInclusive<u16>) -> Option<u16> {
    let highest = *ours.end().min(theirs.end());
    (highest >= *ours.start().max(theirs.start())).then_some(highest)
}
