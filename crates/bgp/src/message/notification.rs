//! NOTIFICATION: why a session ends (RFC 4271 §4.5), in numbers and in words.

use std::fmt;

/// Bytes of a shutdown communication (RFC 9003 §2).
pub const COMMUNICATION_MAX: usize = 255;
/// Bytes of data that are kept: more is nothing that a person reads.
const DATA_MAX: usize = 512;

/// Why a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What is wrong.
    pub code: u8,
    /// What about it.
    pub subcode: u8,
    /// What shows it.
    pub data: Vec<u8>,
}

const fn plain(code: u8, subcode: u8) -> Notification {
    Notification {
        code,
        subcode,
        data: Vec::new(),
    }
}

impl Notification {
    /// 1/1
    pub const NOT_SYNCHRONIZED: Self = plain(1, 1);
    /// 2/0
    pub const OPEN_ERROR: Self = plain(2, 0);
    /// 2/2
    pub const BAD_PEER_AS: Self = plain(2, 2);
    /// 2/3
    pub const BAD_IDENTIFIER: Self = plain(2, 3);
    /// 2/4
    pub const UNSUPPORTED_PARAMETER: Self = plain(2, 4);
    /// 2/6
    pub const UNACCEPTABLE_HOLD_TIME: Self = plain(2, 6);
    /// 3/1
    pub const MALFORMED_ATTRIBUTES: Self = plain(3, 1);
    /// 3/9
    pub const OPTIONAL_ATTRIBUTE: Self = plain(3, 9);
    /// 3/10
    pub const INVALID_NETWORK: Self = plain(3, 10);
    /// 4/0
    pub const HOLD_TIMER_EXPIRED: Self = plain(4, 0);
    /// 5/1 (RFC 6608)
    pub const UNEXPECTED_IN_OPEN_SENT: Self = plain(5, 1);
    /// 5/2
    pub const UNEXPECTED_IN_OPEN_CONFIRM: Self = plain(5, 2);
    /// 5/3
    pub const UNEXPECTED_IN_ESTABLISHED: Self = plain(5, 3);
    /// 6/3
    pub const DECONFIGURED: Self = plain(6, 3);
    /// 6/4
    pub const ADMINISTRATIVE_RESET: Self = plain(6, 4);
    /// 6/5
    pub const REJECTED: Self = plain(6, 5);
    /// 6/6
    pub const CONFIGURATION_CHANGE: Self = plain(6, 6);
    /// 6/7
    pub const COLLISION: Self = plain(6, 7);
    /// 6/10 (RFC 9384)
    pub const BFD_DOWN: Self = plain(6, 10);
    /// 8/0 (RFC 9687)
    pub const SEND_HOLD_TIMER_EXPIRED: Self = plain(8, 0);

    /// 1/2, with the length that cannot be.
    pub fn bad_length(length: [u8; 2]) -> Self {
        Self {
            data: length.to_vec(),
            ..plain(1, 2)
        }
    }

    /// 1/3, with the type that is none.
    pub fn bad_type(number: u8) -> Self {
        Self {
            data: vec![number],
            ..plain(1, 3)
        }
    }

    /// 2/1, with the version that we have.
    pub fn unsupported_version() -> Self {
        Self {
            data: vec![0, 4],
            ..plain(2, 1)
        }
    }

    /// 2/7, with the capability that is missing (RFC 5492 §5).
    pub fn unsupported_capability(wanted: &[u8]) -> Self {
        Self {
            data: wanted.to_vec(),
            ..plain(2, 7)
        }
    }

    /// 3/2, with the attribute that should be known.
    pub fn unrecognized_attribute(attribute: &[u8]) -> Self {
        Self {
            data: attribute.to_vec(),
            ..plain(3, 2)
        }
    }

    /// 6/1, with the family and how many prefixes there may be (RFC 4486 §4).
    pub fn too_many_prefixes(afi: u16, safi: u8, most: u32) -> Self {
        let mut data = afi.to_be_bytes().to_vec();
        data.push(safi);
        data.extend(most.to_be_bytes());
        Self {
            data,
            ..plain(6, 1)
        }
    }

    /// 6/2, with what its operator says (RFC 9003).
    pub fn administrative_shutdown(words: &str) -> Self {
        Self {
            data: communication(words),
            ..plain(6, 2)
        }
    }

    /// 7/1 (RFC 7313 §5), with the whole message.
    pub fn bad_refresh(message: &[u8]) -> Self {
        Self {
            data: message.to_vec(),
            ..plain(7, 1)
        }
    }

    /// 6/9: the same, and nothing is to be kept (RFC 8538 §3).
    pub fn hard(self) -> Self {
        let mut data = vec![self.code, self.subcode];
        data.extend(self.data);
        Self {
            data,
            ..plain(6, 9)
        }
    }

    /// Reads the body; one that is too short says nothing.
    pub fn read(body: &[u8]) -> Self {
        let (code, rest) = body
            .split_first()
            .map_or((0, body), |(it, rest)| (*it, rest));
        let (subcode, data) = rest
            .split_first()
            .map_or((0, rest), |(it, rest)| (*it, rest));
        let data = data.get(..data.len().min(DATA_MAX)).unwrap_or_default();
        Self {
            code,
            subcode,
            data: data.to_vec(),
        }
    }

    /// The body.
    pub fn body(&self) -> Vec<u8> {
        let mut body = vec![self.code, self.subcode];
        body.extend(&self.data);
        body
    }

    /// Whether the peer is to keep nothing (RFC 8538 §3).
    pub fn is_hard(&self) -> bool {
        (self.code, self.subcode) == (6, 9)
    }

    /// What the operator at the other side says, if this is a shutdown or a reset (RFC 9003).
    fn communicated(&self) -> Option<String> {
        if self.code != 6 || !matches!(self.subcode, 2 | 4) {
            return None;
        }
        let (length, words) = self.data.split_first()?;
        let words = words.get(..usize::from(*length))?;
        let words: String = String::from_utf8_lossy(words)
            .chars()
            .filter(|character| !character.is_control())
            .collect();
        (!words.is_empty()).then_some(words)
    }
}

/// A length and UTF-8, cut between two characters where it is too long.
fn communication(words: &str) -> Vec<u8> {
    if words.is_empty() {
        return Vec::new();
    }
    let mut end = words.len().min(COMMUNICATION_MAX);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    let words = words.get(..end).unwrap_or_default();
    let mut data = vec![u8::try_from(words.len()).unwrap_or_default()];
    data.extend(words.bytes());
    data
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, words) = words(self.code, self.subcode);
        f.write_str(code)?;
        if !words.is_empty() {
            write!(f, "/{words}")?;
        } else if self.subcode != 0 {
            write!(f, "/{}", self.subcode)?;
        }
        if self.is_hard() {
            let inner = Self::read(&self.data);
            if inner.code != 0 && !inner.is_hard() {
                write!(f, " ({inner})")?;
            }
        }
        match self.communicated() {
            Some(words) => write!(f, ": \"{words}\""),
            None => Ok(()),
        }
    }
}

/// The names of a code and of its subcode.
fn words(code: u8, subcode: u8) -> (&'static str, &'static str) {
    let subcodes: &[&str] = match code {
        1 => &[
            "Connection Not Synchronized",
            "Bad Message Length",
            "Bad Message Type",
        ],
        2 => &[
            "Unsupported Version Number",
            "Bad Peer AS",
            "Bad BGP Identifier",
            "Unsupported Optional Parameter",
            "Authentication Failure",
            "Unacceptable Hold Time",
            "Unsupported Capability",
        ],
        3 => &[
            "Malformed Attribute List",
            "Unrecognized Well-known Attribute",
            "Missing Well-known Attribute",
            "Attribute Flags Error",
            "Attribute Length Error",
            "Invalid ORIGIN Attribute",
            "AS Routing Loop",
            "Invalid NEXT_HOP Attribute",
            "Optional Attribute Error",
            "Invalid Network Field",
            "Malformed AS_PATH",
        ],
        5 => &[
            "Unexpected Message in OpenSent",
            "Unexpected Message in OpenConfirm",
            "Unexpected Message in Established",
        ],
        6 => &[
            "Maximum Number of Prefixes Reached",
            "Administrative Shutdown",
            "Peer De-configured",
            "Administrative Reset",
            "Connection Rejected",
            "Other Configuration Change",
            "Connection Collision Resolution",
            "Out of Resources",
            "Hard Reset",
            "BFD Down",
        ],
        7 => &["Invalid Message Length"],
        _ => &[],
    };
    let name = match code {
        1 => "Message Header Error",
        2 => "OPEN Message Error",
        3 => "UPDATE Message Error",
        4 => "Hold Timer Expired",
        5 => "Finite State Machine Error",
        6 => "Cease",
        7 => "ROUTE-REFRESH Message Error",
        8 => "Send Hold Timer Expired",
        _ => "Unknown Error",
    };
    let index = usize::from(subcode).checked_sub(1);
    let word = index.and_then(|index| subcodes.get(index)).copied();
    (name, word.unwrap_or_default())
}
