//! Next hops: what the routing tables say, and whether we can send there ourselves.

use abi::{Address, NextHop, Tick};

use crate::world::{Route, RouteQuery, Tables, World};

/// Ticks after which a next hop is asked for again, as a power of two: 8.6 seconds.
///
/// While a daemon runs, it tells of every change at once. While none runs, flows follow the routes
/// all the same, this much later.
const LASTING: u32 = 3;

/// The generation that next hops of this moment belong to; never zero, which stands for none.
#[inline(always)]
pub const fn generation(told: u32, now: Tick) -> u32 {
    let generation = told.wrapping_add(now.0 >> LASTING);
    if generation == 0 { 1 } else { generation }
}

/// Where a packet would go; fills in `hop` if we can send it there ourselves.
///
/// The kernel drops without a word what XDP redirects to an interface that does not take it, so
/// everything that leaves by an interface we do not know to take it is left to the kernel.
#[inline(always)]
pub fn next_hop<A: Address, W: World + Tables<A>>(
    world: &W,
    query: &RouteQuery<A>,
    hop: &mut NextHop,
) -> Route {
    let route = world.route(query, hop);
    if route as u8 != Route::Known as u8 || hop.ifindex == query.ingress {
        return route;
    }
    match world.interface(hop.ifindex) {
        Some(interface) if interface.takes_redirects() => Route::Known,
        _ => Route::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_new_when_the_daemon_says_so_and_after_nine_seconds() {
        let before = generation(5, Tick(80));

        assert_eq!(generation(5, Tick(87)), before);
        assert_ne!(generation(6, Tick(80)), before);
        assert_ne!(generation(5, Tick(88)), before);
        assert_ne!(generation(u32::MAX, Tick(8)), 0);
    }
}
