//! Messages: the header that all have (RFC 4271 §4.1), and each kind in a file of its own.

pub mod notification;
pub mod open;
pub mod refresh;
pub mod update;

use notification::Notification;

/// Bytes of the header.
pub const HEADER: usize = 19;
/// Bytes of a message at most.
pub const LENGTH_MAX: usize = 4096;
/// The same of an extended one (RFC 8654).
pub const EXTENDED_MAX: usize = 65_535;
const MARKER: [u8; 16] = [0xff; 16];

/// What kind a message is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Opens a session.
    Open,
    /// Announces and withdraws.
    Update,
    /// Ends a session.
    Notification,
    /// Says that there is nothing to say.
    Keepalive,
    /// Asks for everything again (RFC 2918).
    Refresh,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Open,
        Self::Update,
        Self::Notification,
        Self::Keepalive,
        Self::Refresh,
    ];

    /// Its word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Update => "update",
            Self::Notification => "notification",
            Self::Keepalive => "keepalive",
            Self::Refresh => "route-refresh",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::Refresh => 5,
        }
    }

    /// Bytes that a message of this kind has at least, and at most if that is not how long it may be.
    const fn lengths(self) -> (usize, Option<usize>) {
        match self {
            // Only these are never extended (RFC 8654 §4).
            Self::Open => (29, Some(LENGTH_MAX)),
            Self::Keepalive => (HEADER, Some(HEADER)),
            Self::Update => (23, None),
            Self::Notification => (21, None),
            Self::Refresh => (23, None),
        }
    }
}

/// Puts the header before a body.
pub fn framed(kind: Kind, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(usize::from(length));
    bytes.extend(MARKER);
    bytes.extend(length.to_be_bytes());
    bytes.push(kind.number());
    bytes.extend_from_slice(body);
    bytes
}

/// The first message of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First<'a> {
    /// Its kind.
    pub kind: Kind,
    /// What stands behind its header.
    pub body: &'a [u8],
    /// How long it is, with its header.
    pub length: usize,
}

/// Takes the first message of a stream. Nothing if it is not whole yet; `length_max` is how long one may be.
///
/// # Errors
///
/// The NOTIFICATION that the sender is to be told, if this is no message (RFC 4271 §6.1).
pub fn first(stream: &[u8], length_max: usize) -> Result<Option<First<'_>>, Notification> {
    let Some((header, _)) = stream.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    if !header.starts_with(&MARKER) {
        return Err(Notification::NOT_SYNCHRONIZED);
    }
    let [.., high, low, number] = *header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let bad_length = Notification::bad_length([high, low]);
    if length < HEADER || length > length_max {
        return Err(bad_length);
    }
    let mut kinds = Kind::ALL.into_iter();
    let Some(kind) = kinds.find(|kind| kind.number() == number) else {
        return Err(Notification::bad_type(number));
    };
    let (least, most) = kind.lengths();
    // A refresh of another length is not for its header to refuse (RFC 7313 §5).
    let is_short = length < least && kind != Kind::Refresh;
    if is_short || most.is_some_and(|most| length > most) {
        return Err(bad_length);
    }
    let body = stream.get(HEADER..length);
    Ok(body.map(|body| First { kind, body, length }))
}
