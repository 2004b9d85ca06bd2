//! What is on its way between this member and the others: what somebody waits for who drains a gateway, or brings
//! it back.

use std::collections::BTreeMap;

use abi::cluster::{Holder, NOBODY};

use super::{Cluster, Standing};

/// What is on its way, as one member sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Moves {
    /// Whether it is known who holds what.
    pub is_settled: bool,
    /// Whether this member takes no new flows.
    pub is_leaving: bool,
    /// Whether flows are copied; where they are not, none is ever handed over.
    pub are_copied: bool,
    /// Whether another one is up, and so can take them.
    pub is_taken: bool,
    /// The buckets that this member owns.
    pub owned: u32,
    /// By the number of the owner, the buckets of which it does not know all that there is here; of
    /// [`NOBODY`], those that nobody owns.
    pub going: BTreeMap<u8, u32>,
    /// By the number of who held them before, the buckets that this member owns and does not know all flows of.
    pub coming: BTreeMap<u8, u32>,
}

impl Moves {
    /// Whether nothing is left here that others need.
    pub fn has_left(&self) -> bool {
        self.is_settled && self.is_leaving && self.owned == 0 && self.going.is_empty()
    }

    /// Whether this member takes new flows, and knows all that it is to know.
    pub fn has_arrived(&self) -> bool {
        self.is_settled && !self.is_leaving && self.coming.is_empty()
    }

    /// Whether there is something to hand over that somebody can take.
    pub fn is_worth_waiting(&self) -> bool {
        self.are_copied && self.is_taken && !self.has_left()
    }
}

impl Cluster {
    /// What is on its way; nothing where a gateway is alone.
    pub fn moves(&self) -> Option<Moves> {
        let own = self.peers.get(self.me)?;
        let mut moves = Moves {
            is_settled: self.holders.is_some(),
            is_leaving: own.standing != Standing::Up,
            are_copied: self.copying.are_made,
            is_taken: self.others().any(|it| it == Standing::Up),
            ..Moves::default()
        };
        let holders = self.holders.iter().flat_map(|it| it.iter());
        for (bucket, Holder { owner, before }) in holders.copied().enumerate() {
            let is_mine = usize::from(owner) == self.me;
            if is_mine {
                moves.owned += 1;
                if before != NOBODY {
                    *moves.coming.entry(before).or_default() += 1;
                }
            } else if usize::from(before) == self.me || self.copying.owes(bucket) {
                *moves.going.entry(owner).or_default() += 1;
            }
        }
        Some(moves)
    }

    fn others(&self) -> impl Iterator<Item = Standing> {
        let others = self.peers.iter().enumerate();
        let others = others.filter(|(index, _)| *index != self.me);
        others.map(|(_, it)| it.standing)
    }
}
