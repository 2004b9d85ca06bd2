//! How much there may be of anything.

use std::time::Duration;

/// Bytes of the longest frame, with its length. As long as a TLS record, so that one holds one.
pub const FRAME_MAX: usize = 16 * 1024;
/// Bytes of the longest key: both ends of an IPv6 flow, and as much again.
pub const KEY_MAX: usize = 64;
/// Bytes of the longest value.
pub const VALUE_MAX: usize = 512;
/// Bytes of the longest name of a cluster or a member.
pub const NAME_MAX: usize = 255;
/// Bytes of the longest record on the wire, with what stands before its key and its value.
pub const RECORD_MAX: usize = 5 + KEY_MAX + VALUE_MAX;
/// Bytes of a batch before its first item: the frame's length, its kind, the first number.
pub(crate) const BATCH_HEAD: usize = 2 + 1 + 8;

const _: () = assert!(FRAME_MAX - 2 <= u16::MAX as usize, "its length is a u16");
const _: () = assert!(KEY_MAX <= u8::MAX as usize, "its length is a u8");
const _: () = assert!(VALUE_MAX <= u16::MAX as usize, "its length is a u16");
const _: () = assert!(BATCH_HEAD + RECORD_MAX <= FRAME_MAX, "any record fits");

/// The bounds of a stream, and its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Changes that wait to be sent; a change more and the least important one is left out.
    pub queue: usize,
    /// Bytes that were sent and are not acknowledged; at this many nothing more is sent. At least [`FRAME_MAX`].
    pub window: usize,
    /// Bytes that the transport was given and did not take yet. At least [`FRAME_MAX`].
    pub transport: usize,
    /// Records of snapshots that wait to be sent.
    pub snapshot: usize,
    /// Buckets whose snapshots are read at once. Changes of these wait until theirs is sent.
    pub reading: u32,
    /// How long a change may wait for others to go with it.
    pub delay: Duration,
    /// Changes after which the receiver acknowledges.
    pub acknowledge_count: u64,
    /// How long an acknowledgement may wait for more that it can say.
    pub acknowledge_delay: Duration,
    /// After how long without anything to say a side says that it is there.
    pub heartbeat: Duration,
    /// After how long without a byte the other side is taken to be gone.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 65_536,
            window: 4 * 1024 * 1024,
            transport: 256 * 1024,
            snapshot: 4096,
            reading: 16,
            delay: Duration::from_millis(5),
            acknowledge_count: 256,
            acknowledge_delay: Duration::from_millis(20),
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The same, with what is too small for a stream to go on made as large as it must be.
    pub(crate) fn sane(self) -> Self {
        Self {
            queue: self.queue.max(1),
            window: self.window.max(FRAME_MAX),
            transport: self.transport.max(FRAME_MAX),
            snapshot: self.snapshot.max(1),
            reading: self.reading.max(1),
            acknowledge_count: self.acknowledge_count.max(1),
            ..self
        }
    }
}
