//! IPv6 addresses that stand for IPv4 ones (RFC 6052), as packets show them.
//!
//! Functions of their own, because they take addresses apart byte by byte, for which a caller's stack
//! has no room.

use abi::{Address, Ip4, Prefix64, Reason, Tuple, limits::PREFIXES64_MAX};

/// Which prefix's an address is that stands for an IPv4 one, and for which.
#[inline(always)]
pub fn embedded<A: Address>(
    prefixes: &[Prefix64; PREFIXES64_MAX],
    address: &A,
) -> Option<(u16, Ip4)> {
    if A::LENGTH == Ip4::LENGTH {
        return None;
    }
    let mut found = Ip4([0; 4]);
    let index = extract(prefixes, address, &mut found);
    (index != NO_PREFIX).then_some((index as u16, found))
}

/// Whom a packet for this address is to: where it stands for an IPv4 address, that one.
#[inline(always)]
pub fn seen<A: Address>(prefixes: &[Prefix64; PREFIXES64_MAX], target: &A) -> A {
    match embedded(prefixes, target) {
        Some((_, address)) => A::of_ip4(address),
        None => *target,
    }
}

/// The number after the last prefix's.
const NO_PREFIX: u32 = PREFIXES64_MAX as u32;

#[inline(never)]
fn extract<A: Address>(prefixes: &[Prefix64; PREFIXES64_MAX], address: &A, found: &mut Ip4) -> u32 {
    let address = address.wide();
    let mut index = 0;
    while index < PREFIXES64_MAX {
        if let Some(address) = prefixes[index].extract(&address) {
            *found = address;
            return index as u32;
        }
        index += 1;
    }
    NO_PREFIX
}

/// Makes `place` the address that stands for an IPv4 one.
#[inline(never)]
pub fn embed<A: Address>(prefix: &Prefix64, address: Ip4, place: &mut A) {
    *place = A::of_ip6(prefix.embed(address));
}

/// Why packets between such addresses are not to be, whatever the rules want. The `target` is whom the
/// packet is to, and by which prefix it is if its own target is another address.
#[inline(always)]
pub fn forbidden<A: Address>(
    prefixes: &[Prefix64; PREFIXES64_MAX],
    tuple: &Tuple<A>,
    (target, prefix): (&A, u16),
) -> Option<Reason> {
    if !tuple.source.is_one_host() {
        return Some(Reason::IllegalSource);
    }
    if embedded(prefixes, &tuple.source).is_some() {
        return Some(Reason::OwnPrefix);
    }
    let (Some(address), None) = (target.ip4(), tuple.target.ip4()) else {
        return None;
    };
    let prefix = prefixes.get(prefix as usize)?;
    (!prefix.stands_for(address)).then_some(Reason::NotGlobal)
}
