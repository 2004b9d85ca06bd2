//! Flows whose packets go to somebody else than they were sent to: an endpoint leads to its target, and
//! an address that is translated one to one to whoever has it.

use abi::{Address, Port, Reason, Renumbered};

use super::{Beginning, Step, Way};
use crate::{
    fixed,
    world::{Tables, World},
};

/// Finds out for whom a flow from inside is.
#[inline(always)]
pub fn redirect<A: Address, W: World + Tables<A>>(world: &W, beginning: &mut Beginning<A>) -> Step {
    if !matches!(beginning.way, Way::Out) {
        return Step::Begin;
    }
    lead(world, beginning);
    match fixed::called(world, &mut beginning.target) {
        Renumbered::Done => Step::Begin,
        Renumbered::Unmapped => Step::Leave(Reason::PrefixUnmapped),
        Renumbered::Zero => Step::Leave(Reason::PrefixZero),
    }
}

/// Fills in whom an endpoint leads to, if the flow's rule is one's.
#[inline(never)]
fn lead<A: Address, W: World>(world: &W, beginning: &mut Beginning<A>) {
    let Some(rule) = world.rule(beginning.rule_index) else {
        return;
    };
    let Some((target, shift)) = rule.target() else {
        return;
    };
    beginning.target = match target.ip4() {
        Some(target) => A::of_ip4(target),
        None => A::of_ip6(target),
    };
    let port = beginning.target_port.get().wrapping_add(shift);
    beginning.target_port = Port::new(port);
}
