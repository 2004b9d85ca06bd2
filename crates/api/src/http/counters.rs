//! What became of every packet: each way out of the packet path has a name and a counter.

use serde::{Deserialize, Serialize};

/// The packets that ended here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Drops {
    /// One entry for each reason to drop a packet, those that never occurred too.
    pub drops: Vec<Exit>,
}

/// All packets, whatever became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counters {
    /// One entry for each reason, those that never occurred too.
    pub counters: Vec<Exit>,
}

/// One way out of the packet path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Exit {
    /// Its name, `ports_exhausted`; the same as the metrics' label.
    pub reason: String,
    /// What becomes of packets that take it.
    pub verdict: Verdict,
    /// Packets that took it since the counters exist.
    pub packets: u64,
    /// Bytes of them, whole frames.
    pub bytes: u64,
    /// The sentence that explains it.
    pub explanation: String,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The gateway sent it on, or an answer to it.
    Send,
    /// The kernel got it.
    Pass,
    /// It ended here.
    Drop,
}

impl Verdict {
    /// The word in tables and labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Pass => "pass",
            Self::Drop => "drop",
        }
    }
}
