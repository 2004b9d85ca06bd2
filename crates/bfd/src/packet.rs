//! Control packets (RFC 5880 §4.1).

use std::time::Duration;

/// Bytes of the part that all have.
pub const HEADER: usize = 24;
/// Bytes of the longest that there is here: with a SHA1 section (§4.4).
pub const LENGTH_MAX: usize = HEADER + 28;
const VERSION: u8 = 1;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// How a session stands (§6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its operator does not want it.
    AdminDown,
    /// Nothing is heard, or what is heard says that nothing is.
    Down,
    /// The other side is heard, and does not say that it hears us.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    /// The word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::AdminDown => "admin-down",
            Self::Down => "down",
            Self::Init => "init",
            Self::Up => "up",
        }
    }
}

/// Why a session went down last (§4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic(pub u8);

impl Diagnostic {
    /// It did not.
    pub const NONE: Self = Self(0);
    /// Nothing came for the detection time.
    pub const DETECTION_TIME_EXPIRED: Self = Self(1);
    /// The other side said that it is down.
    pub const NEIGHBOR_SIGNALED_DOWN: Self = Self(3);
    /// Its operator does not want it.
    pub const ADMINISTRATIVELY_DOWN: Self = Self(7);
    /// Whoever says so is heard, and what it would forward to is not there (§6.8.17).
    pub const CONCATENATED_PATH_DOWN: Self = Self(6);
    /// Whoever says so forwards nothing any more that it forwarded before.
    pub const FORWARDING_PLANE_RESET: Self = Self(4);

    /// The RFC's words.
    pub const fn words(self) -> &'static str {
        match self.0 {
            0 => "No Diagnostic",
            1 => "Control Detection Time Expired",
            2 => "Echo Function Failed",
            3 => "Neighbor Signaled Session Down",
            4 => "Forwarding Plane Reset",
            5 => "Path Down",
            6 => "Concatenated Path Down",
            7 => "Administratively Down",
            8 => "Reverse Concatenated Path Down",
            _ => "Reserved",
        }
    }
}

/// A control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why its sender went down last.
    pub diagnostic: Diagnostic,
    /// How its sender stands.
    pub state: State,
    /// Its sender wants an answer with `is_final`.
    pub is_poll: bool,
    /// The answer to a poll.
    pub is_final: bool,
    /// Its sender's packets come from its forwarding plane.
    pub is_independent: bool,
    /// Behind it stands proof of whose it is.
    pub is_authenticated: bool,
    /// Its sender wants silence from us while both are up.
    pub demands: bool,
    /// After how many packets that did not come its sender's session is down.
    pub multiplier: u8,
    /// The sender's number of the session; never zero.
    pub mine: u32,
    /// Ours, as its sender knows it; zero if it does not.
    pub yours: u32,
    /// How far apart the sender would have its packets.
    pub transmit: Duration,
    /// How far apart the sender would have ours at least; zero is none at all.
    pub receive: Duration,
    /// The same of echo packets; zero is none.
    pub echo: Duration,
}

/// Why bytes are no packet to be looked at (§6.8.6, in its order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum PacketError {
    /// The version is not 1.
    #[error("another version")]
    Version,
    /// The length field says less than there must be, or more than there is.
    #[error("a wrong length")]
    Length,
    /// A multiplier of zero.
    #[error("a detect multiplier of zero")]
    Multiplier,
    /// For several receivers.
    #[error("the multipoint bit")]
    Multipoint,
    /// The sender's number of the session is zero.
    #[error("no discriminator of the sender's")]
    Discriminator,
    /// Ours is zero in a state in which it is known.
    #[error("no discriminator of ours, and the sender is up")]
    Unknown,
    /// Poll and Final in one packet (§6.5).
    #[error("poll and final at once")]
    PollAndFinal,
}

impl Packet {
    /// Writes it; `length` is that of the whole, with what stands behind it.
    pub fn write(&self, length: usize) -> [u8; HEADER] {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let state = match self.state {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        };
        let flags = flag(self.is_poll, POLL)
            | flag(self.is_final, FINAL)
            | flag(self.is_independent, CONTROL_PLANE_INDEPENDENT)
            | flag(self.is_authenticated, AUTHENTICATED)
            | flag(self.demands, DEMAND);
        let mut bytes = [0; HEADER];
        let head = [
            VERSION << 5 | self.diagnostic.0 & 0x1f,
            state << 6 | flags,
            self.multiplier,
            u8::try_from(length).unwrap_or(u8::MAX),
        ];
        let words = [
            head,
            self.mine.to_be_bytes(),
            self.yours.to_be_bytes(),
            micros(self.transmit).to_be_bytes(),
            micros(self.receive).to_be_bytes(),
            micros(self.echo).to_be_bytes(),
        ];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word);
        }
        bytes
    }

    /// Reads one, and returns what stands behind it.
    ///
    /// # Errors
    ///
    /// Why it is none; what the fields mean is not judged any further.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8]), PacketError> {
        let (head, _) = bytes
            .split_first_chunk::<HEADER>()
            .ok_or(PacketError::Length)?;
        let [first, flags, multiplier, length, rest @ ..] = *head;
        if first >> 5 != VERSION {
            return Err(PacketError::Version);
        }
        let length = usize::from(length);
        let is_authenticated = flags & AUTHENTICATED != 0;
        let least = if is_authenticated { HEADER + 2 } else { HEADER };
        let behind = bytes.get(HEADER..length).filter(|_| length >= least);
        let behind = behind.ok_or(PacketError::Length)?;
        if multiplier == 0 {
            return Err(PacketError::Multiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(PacketError::Multipoint);
        }
        let mut words = rest.chunks_exact(4).map(|word| {
            let word = <[u8; 4]>::try_from(word).unwrap_or_default();
            u32::from_be_bytes(word)
        });
        let mut word = || words.next().unwrap_or_default();
        let packet = Self {
            diagnostic: Diagnostic(first & 0x1f),
            state: match flags >> 6 {
                0 => State::AdminDown,
                1 => State::Down,
                2 => State::Init,
                _ => State::Up,
            },
            is_poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            is_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
            is_authenticated,
            demands: flags & DEMAND != 0,
            multiplier,
            mine: word(),
            yours: word(),
            transmit: Duration::from_micros(u64::from(word())),
            receive: Duration::from_micros(u64::from(word())),
            echo: Duration::from_micros(u64::from(word())),
        };
        if packet.mine == 0 {
            return Err(PacketError::Discriminator);
        }
        if packet.yours == 0 && !matches!(packet.state, State::Down | State::AdminDown) {
            return Err(PacketError::Unknown);
        }
        if packet.is_poll && packet.is_final {
            return Err(PacketError::PollAndFinal);
        }
        Ok((packet, behind))
    }
}

/// Whole microseconds; what does not fit is as long as there is.
fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_packet() -> impl Strategy<Value = Packet> {
        let flags = any::<[bool; 5]>();
        let numbers = (1..=u8::MAX, 1..=u32::MAX, 1..=u32::MAX, any::<[u32; 3]>());
        (0_u8..32, 0_usize..4, flags, numbers).prop_map(|(diagnostic, state, flags, numbers)| {
            let [is_poll, is_final, is_independent, is_authenticated, demands] = flags;
            let (multiplier, mine, yours, [transmit, receive, echo]) = numbers;
            let micros = |it| Duration::from_micros(u64::from(it));
            Packet {
                diagnostic: Diagnostic(diagnostic),
                state: State::ALL[state],
                is_poll: is_poll && !is_final,
                is_final,
                is_independent,
                is_authenticated,
                demands,
                multiplier,
                mine,
                yours,
                transmit: micros(transmit),
                receive: micros(receive),
                echo: micros(echo),
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(packet in any_packet(), behind in prop::collection::vec(any::<u8>(), 2..30)) {
            let length = HEADER + behind.len();
            let mut bytes = packet.write(length).to_vec();
            bytes.extend(&behind);
            // What is behind the length that it says is nobody's.
            bytes.extend([0; 3]);

            prop_assert_eq!(Packet::read(&bytes), Ok((packet, behind.as_slice())));
        }

        #[test]
        fn any_bytes_are_a_packet_or_are_not(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Packet::read(&bytes);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let packet = Packet {
            diagnostic: Diagnostic::NONE,
            state: State::Up,
            is_poll: false,
            is_final: false,
            is_independent: false,
            is_authenticated: false,
            demands: false,
            multiplier: 3,
            mine: 7,
            yours: 9,
            transmit: Duration::from_millis(100),
            receive: Duration::from_millis(100),
            echo: Duration::ZERO,
        };
        let good = packet.write(HEADER);
        let with = |index: usize, byte: u8| {
            let mut bytes = good;
            bytes[index] = byte;
            Packet::read(&bytes).map(|_| ())
        };

        assert_eq!(with(0, 0x40), Err(PacketError::Version));
        assert_eq!(with(3, 23), Err(PacketError::Length));
        assert_eq!(with(3, 25), Err(PacketError::Length));
        assert_eq!(with(1, 0xc4), Err(PacketError::Length));
        assert_eq!(with(2, 0), Err(PacketError::Multiplier));
        assert_eq!(with(1, 0xc1), Err(PacketError::Multipoint));
        assert_eq!(with(7, 0), Err(PacketError::Discriminator));
        assert_eq!(with(11, 0), Err(PacketError::Unknown));
        assert_eq!(with(1, 0xf0), Err(PacketError::PollAndFinal));
        assert_eq!(Packet::read(&good[..23]), Err(PacketError::Length));
        assert!(Packet::read(&good).is_ok());
    }
}
