//! Flows to addresses that are translated one to one: they go to whoever has the address.

use abi::{Address, Reason, Renumbered};

use super::{Beginning, Step, Way};
use crate::{
    fixed,
    world::{Tables, World},
};

/// Finds out who has the fixed address that a flow from inside is for, if it is for one.
#[inline(always)]
pub fn redirect<A: Address, W: World + Tables<A>>(world: &W, beginning: &mut Beginning<A>) -> Step {
    if !matches!(beginning.way, Way::Out) {
        return Step::Begin;
    }
    match fixed::called(world, &mut beginning.target) {
        Renumbered::Done => Step::Begin,
        Renumbered::Unmapped => Step::Leave(Reason::PrefixUnmapped),
        Renumbered::Zero => Step::Leave(Reason::PrefixZero),
    }
}
