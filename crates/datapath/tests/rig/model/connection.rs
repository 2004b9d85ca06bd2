//! What a NAT follows of a TCP connection (RFC 5382 §5, RFC 7857 §2).

use super::super::sketch::{ACK, FIN, RST, SYN};

/// A connection, as its segments tell it; of each side: inside, outside.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Connection {
    /// Which sides have sent a SYN.
    opened: [bool; 2],
    /// Which sides have acknowledged anything beside a SYN.
    acknowledged: [bool; 2],
    /// Which sides have sent a FIN.
    closed: [bool; 2],
    /// Which sides have sent an RST and nothing else since.
    reset: [bool; 2],
    /// Whether a side that had ended the connection has begun another in its place: until both have
    /// opened and acknowledged it, nobody can tell which segments are of which.
    is_again: bool,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Opening,
    Open,
    Closing,
    /// Any of them.
    Unclear,
}

impl Connection {
    /// Takes in a segment. Returns whether it shows that the connection is alive.
    ///
    /// An RST behind an RST does not, and of a connection that the inside has reset nothing from
    /// outside does (RFC 7857 §7.1). Anything else behind an RST of the same side takes that back: it
    /// was forged (§2.2).
    pub fn hear(&mut self, is_inside: bool, flags: u8) -> bool {
        let side = usize::from(!is_inside);
        let has = |flag| flags & flag != 0;
        let is_over = self.closed[side] || self.reset[side];
        if has(SYN) && is_over {
            *self = Self {
                reset: self.reset,
                is_again: true,
                ..Self::default()
            };
        }
        let is_one_more = self.reset[side] && has(RST);
        self.reset[side] = has(RST);
        self.opened[side] |= has(SYN);
        self.closed[side] |= has(FIN);
        self.acknowledged[side] |= has(ACK) && !has(SYN);
        if self.opened == [true; 2] && self.acknowledged == [true; 2] {
            self.is_again = false;
        }
        let is_heard = is_inside || !self.reset[0];
        is_heard && !is_one_more
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        let both = [true; 2];
        if self.reset != [false; 2] {
            Stage::Closing
        } else if self.is_again {
            Stage::Unclear
        } else if self.closed == both {
            Stage::Closing
        } else if self.opened == both && self.acknowledged != [false; 2] {
            Stage::Open
        } else {
            Stage::Opening
        }
    }
}
