//! ROUTE-REFRESH: everything again, please; and where that begins and ends (RFC 2918, RFC 7313).

use crate::{
    family::{Family, UNICAST},
    reader::Reader,
};

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subtype {
    /// Say everything of a family again.
    Request,
    /// What comes now is everything.
    Begin,
    /// That was everything.
    End,
}

/// A ROUTE-REFRESH of a family that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// Of what.
    pub family: Family,
    /// What about it.
    pub subtype: Subtype,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// One to be heeded.
    Known(Refresh),
    /// Of another family, or of another kind: to be ignored.
    Ignored,
    /// Of another length than it should be.
    Malformed,
}

impl Refresh {
    /// The body.
    pub fn body(self) -> Vec<u8> {
        let subtype = match self.subtype {
            Subtype::Request => 0,
            Subtype::Begin => 1,
            Subtype::End => 2,
        };
        let [high, low] = self.family.afi().to_be_bytes();
        vec![high, low, subtype, UNICAST]
    }

    /// Reads a body.
    pub fn read(body: &[u8]) -> Read {
        let mut reader = Reader(body);
        let parts = (reader.u16(), reader.u8(), reader.u8());
        let (Some(afi), Some(subtype), Some(safi)) = parts else {
            return Read::Malformed;
        };
        let subtype = match (subtype, reader.is_empty()) {
            (0, true) => Subtype::Request,
            (1, true) => Subtype::Begin,
            (2, true) => Subtype::End,
            // With filters of RFC 5291, which nobody was offered.
            (0, false) => return Read::Ignored,
            (1 | 2, false) => return Read::Malformed,
            (3.., _) => return Read::Ignored,
        };
        match Family::of(afi, safi) {
            Some(family) => Read::Known(Self { family, subtype }),
            None => Read::Ignored,
        }
    }
}
