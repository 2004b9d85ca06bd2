//! What stands on the wire: frames, each with its length before it.
//!
//! ```text
//! length u16 │ kind u8 │ body                                       numbers are big-endian
//!              1 hello      "EGRR", versions u16 u16, format u32, cluster, member, role
//!              2 batch      first number u64, items
//!              3 ack        last number u64
//!              4 heartbeat
//!              5 ask        buckets, 32 bytes
//! ```
//!
//! The layout of a hello is that of every version, so that two which have no version in common can say so.

mod batch;
mod hello;

pub use batch::{Batch, Item};
pub use hello::{Hello, Role};

use crate::buckets::Buckets;
use crate::limits::{FRAME_MAX, KEY_MAX, NAME_MAX, RECORD_MAX, VALUE_MAX};

/// Bytes of the length.
const LENGTH: usize = 2;
/// Bytes before the body.
pub(crate) const HEAD: usize = LENGTH + 1;

/// What a side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Who it is; the first frame of each side.
    Hello(Hello),
    /// Changes, from the sender.
    Batch(Batch),
    /// Up to which number everything is applied, from the receiver.
    Ack(u64),
    /// That it is there.
    Heartbeat,
    /// Which buckets are to be told anew, from the receiver.
    Ask(Buckets),
}

/// Which frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Frame::Hello`].
    Hello,
    /// [`Frame::Batch`].
    Batch,
    /// [`Frame::Ack`].
    Ack,
    /// [`Frame::Heartbeat`].
    Heartbeat,
    /// [`Frame::Ask`].
    Ask,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Hello,
        Self::Batch,
        Self::Ack,
        Self::Heartbeat,
        Self::Ask,
    ];

    /// Its word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Batch => "batch",
            Self::Ack => "ack",
            Self::Heartbeat => "heartbeat",
            Self::Ask => "ask",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Batch => 2,
            Self::Ack => 3,
            Self::Heartbeat => 4,
            Self::Ask => 5,
        }
    }

    /// Bytes of the longest body.
    const fn body_max(self) -> usize {
        match self {
            Self::Hello => hello::BODY_MAX,
            Self::Batch => FRAME_MAX - HEAD,
            Self::Ack => 8,
            Self::Heartbeat => 0,
            Self::Ask => 32,
        }
    }
}

/// Why bytes are no frame, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame {frame}{}, byte {at}: {fault}", self.words())]
pub struct Malformed {
    /// The how-manieth of the connection; the first is 1.
    pub frame: u64,
    /// Of which kind, if that could be read.
    pub kind: Option<Kind>,
    /// The byte, counted from the frame's length on, which is at 0.
    pub at: usize,
    /// What is wrong there.
    pub fault: Fault,
}

impl Malformed {
    fn words(&self) -> String {
        let label = self.kind.map(|kind| format!(" ({})", kind.label()));
        label.unwrap_or_default()
    }
}

/// What is wrong with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A frame that is too short for its kind, or too long.
    #[error("a length of {0}")]
    Length(usize),
    /// No such kind of frame.
    #[error("a frame of kind {0}, which there is not")]
    Kind(u8),
    /// It ends too early.
    #[error("it ends where {0} more bytes should be")]
    Short(usize),
    /// Something stands behind its end.
    #[error("{0} bytes behind its end")]
    Behind(usize),
    /// It does not begin as a hello does.
    #[error("this is not the protocol of replication")]
    Magic,
    /// The lowest version is above the highest.
    #[error("versions from {0} to {1}")]
    Versions(u16, u16),
    /// A name that is not UTF-8.
    #[error("a name that is not UTF-8")]
    Name,
    /// No such role.
    #[error("a role {0}, which there is not")]
    Role(u8),
    /// A batch with nothing in it.
    #[error("a batch without an item")]
    Empty,
    /// Zero, or so high that there is none after it.
    #[error("a number {0}")]
    Number(u64),
    /// No such kind of item.
    #[error("an item of kind {0}, which there is not")]
    Item(u8),
    /// A beginning that is not a batch's first item.
    #[error("a start that is not the first item")]
    Start,
    /// A key that is too long.
    #[error("a key of {0} bytes, and {KEY_MAX} is the most")]
    Key(usize),
    /// A value that is too long.
    #[error("a value of {0} bytes, and {VALUE_MAX} is the most")]
    Value(usize),
}

impl Frame {
    /// Which it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Batch(_) => Kind::Batch,
            Self::Ack(_) => Kind::Ack,
            Self::Heartbeat => Kind::Heartbeat,
            Self::Ask(_) => Kind::Ask,
        }
    }

    /// As bytes; a batch must not be longer than [`FRAME_MAX`].
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = vec![0, 0, self.kind().number()];
        match self {
            Self::Hello(hello) => hello.write(&mut bytes),
            Self::Batch(batch) => batch.write(&mut bytes),
            Self::Ack(number) => bytes.extend(number.to_be_bytes()),
            Self::Heartbeat => {}
            Self::Ask(buckets) => bytes.extend(buckets.to_bytes()),
        }
        let length = u16::try_from(bytes.len() - LENGTH).unwrap_or(u16::MAX);
        bytes.splice(..LENGTH, length.to_be_bytes());
        bytes
    }

    fn read(kind: Kind, cursor: &mut Cursor<'_>) -> Result<Self, (usize, Fault)> {
        let frame = match kind {
            Kind::Hello => Self::Hello(Hello::read(cursor)?),
            Kind::Batch => Self::Batch(Batch::read(cursor)?),
            Kind::Ack => Self::Ack(cursor.u64()?),
            Kind::Heartbeat => Self::Heartbeat,
            Kind::Ask => Self::Ask(Buckets::from_bytes(cursor.array()?)),
        };
        match cursor.left() {
            0 => Ok(frame),
            left => Err((cursor.at, Fault::Behind(left))),
        }
    }
}

/// Frames out of bytes that come in pieces. Holds one frame at most.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// Frames that were begun.
    frames: u64,
}

impl Reader {
    /// Takes bytes from the front until a frame is whole; nothing if it is not whole with all of them.
    ///
    /// # Errors
    ///
    /// What and where, as soon as it is known. There is no going on then.
    pub fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, Malformed> {
        if self.bytes.is_empty() && !bytes.is_empty() {
            self.frames += 1;
        }
        if !self.fill(LENGTH, bytes) {
            return Ok(None);
        }
        let first: [u8; LENGTH] = self.bytes.first_chunk().copied().unwrap_or_default();
        let length = usize::from(u16::from_be_bytes(first));
        if length == 0 || length > FRAME_MAX - LENGTH {
            return Err(self.malformed(None, 0, Fault::Length(length)));
        }
        if !self.fill(HEAD, bytes) {
            return Ok(None);
        }
        let number = self.bytes.get(LENGTH).copied().unwrap_or_default();
        let Some(kind) = Kind::ALL.into_iter().find(|it| it.number() == number) else {
            return Err(self.malformed(None, LENGTH, Fault::Kind(number)));
        };
        if length > 1 + kind.body_max() {
            return Err(self.malformed(Some(kind), 0, Fault::Length(length)));
        }
        if !self.fill(LENGTH + length, bytes) {
            return Ok(None);
        }
        let mut cursor = Cursor {
            bytes: &self.bytes,
            at: HEAD,
        };
        let frame = Frame::read(kind, &mut cursor)
            .map_err(|(at, fault)| self.malformed(Some(kind), at, fault))?;
        self.bytes.clear();
        Ok(Some(frame))
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    fn fill(&mut self, until: usize, bytes: &mut &[u8]) -> bool {
        let missing = until.saturating_sub(self.bytes.len());
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        self.bytes.extend_from_slice(taken);
        *bytes = rest;
        self.bytes.len() >= until
    }

    fn malformed(&self, kind: Option<Kind>, at: usize, fault: Fault) -> Malformed {
        Malformed {
            frame: self.frames,
            kind,
            at,
            fault,
        }
    }
}

/// A frame that is being read, and how far.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], (usize, Fault)> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(taken) = rest.get(..count) else {
            return Err((self.at, Fault::Short(count - rest.len())));
        };
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], (usize, Fault)> {
        let at = self.at;
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| (at, Fault::Short(N)))
    }

    fn u8(&mut self) -> Result<u8, (usize, Fault)> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, (usize, Fault)> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, (usize, Fault)> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, (usize, Fault)> {
        self.array().map(u64::from_be_bytes)
    }
}

/// A length of one byte; what it is of is never longer.
fn short(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

const _: () = assert!(NAME_MAX <= u8::MAX as usize);
const _: () = assert!(RECORD_MAX < FRAME_MAX);
