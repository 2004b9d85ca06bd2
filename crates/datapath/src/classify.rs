//! Which rule wants a packet: three sets of rules, anded; the lowest bit wins.

use abi::{
    Action, Address, ClassKey, Dimension, Port, RuleSet,
    limits::{RULE_WORDS, RULES_MAX},
    policy,
};

use crate::world::{Tables, World};

/// What a policy says about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// No rule wants it.
    Nothing,
    /// This is to be done, because the rule wants it that stands at this [`policy::rule_index`].
    Do(Action, u32),
    /// The tables contradict each other.
    Broken,
}

/// What the policy of this version says about a packet of known ports.
#[inline(always)]
pub fn classify<A: Address, W: World + Tables<A>>(
    world: &W,
    version: u32,
    (source, target): (A, A),
    (protocol, port): (u8, Port),
) -> Wish {
    let Some(sources) = class(world, version, Dimension::Source, source) else {
        return Wish::Nothing;
    };
    let Some(targets) = class(world, version, Dimension::Destination, target) else {
        return Wish::Nothing;
    };
    let services = ClassKey::service(version, protocol, port, 16);
    let Some(services) = world.class(&services) else {
        return Wish::Nothing;
    };
    action(world, version, lowest(&sources, &targets, &services))
}

/// What the policy of this version says about a packet whose ports cannot be read.
///
/// A rule that depends on the port might want it or not: if one that translates comes before the
/// first that wants it whatever its port, the packet counts as one to be translated, because passed
/// on it might show the wrong address.
#[inline(always)]
pub fn classify_part<A: Address, W: World + Tables<A>>(
    world: &W,
    version: u32,
    (source, target): (A, A),
    protocol: u8,
) -> Wish {
    let Some(sources) = class(world, version, Dimension::Source, source) else {
        return Wish::Nothing;
    };
    let Some(targets) = class(world, version, Dimension::Destination, target) else {
        return Wish::Nothing;
    };
    // No rule names port 0, so only those that take every port are found under it.
    let whole = ClassKey::service(version, protocol, Port::new(0), 16);
    let certain = match world.class(&whole) {
        Some(services) => lowest(&sources, &targets, &services),
        None => NO_RULE,
    };
    let translating = match world.class(&ClassKey::touched(version, protocol)) {
        Some(services) => lowest(&sources, &targets, &services),
        None => NO_RULE,
    };
    if certain <= translating {
        return action(world, version, certain);
    }
    action(world, version, translating)
}

/// The rules that want an address.
#[inline(always)]
fn class<A: Address, W: World + Tables<A>>(
    world: &W,
    version: u32,
    dimension: Dimension,
    address: A,
) -> Option<W::Ref<'_, RuleSet>> {
    match address.ip4() {
        Some(address) => world.class(&ClassKey::address(version, dimension, address, 32)),
        None => world.class(&ClassKey::address(version, dimension, address, A::LENGTH)),
    }
}

/// The number after the last rule's. Not an `Option`, because the verifier refuses to have the
/// number that is not in a `None` copied around.
const NO_RULE: u32 = RULES_MAX as u32;

#[inline(always)]
fn action<W: World>(world: &W, version: u32, index: u32) -> Wish {
    if index == NO_RULE {
        return Wish::Nothing;
    }
    let index = policy::rule_index(version, index);
    match world.rule(index) {
        Some(rule) => match rule.decode() {
            Some(action) => Wish::Do(action, index),
            None => Wish::Broken,
        },
        None => Wish::Broken,
    }
}

/// The lowest rule that is in all three sets, or [`NO_RULE`].
#[inline(always)]
fn lowest(a: &RuleSet, b: &RuleSet, c: &RuleSet) -> u32 {
    let mut index = 0;
    while index < RULE_WORDS {
        let word = a.0[index] & b.0[index] & c.0[index];
        if word != 0 {
            return index as u32 * 64 + word.trailing_zeros();
        }
        index += 1;
    }
    NO_RULE
}
