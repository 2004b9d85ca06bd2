//! A site of both versions of IP: what [`usual`] has, the same of IPv6, and two prefixes that stand for
//! IPv4 addresses.

use std::net::IpAddr;

use abi::{Address, Ip6, NextHop, Prefix64};
use datapath::world::{Route, RouteQuery};
use gateway::intent::{Action, Intent};
use ipnet::IpNet;

use super::{
    Left, Site, Sketch6,
    site::{ARM, INSIDE, OUTSIDE, from_pool, own_address6, own_mac, peer_mac, route, rule, usual},
    sketch6::ip6,
    take,
};

/// The largest packet that IPv6 destinations behind a narrow link take.
pub const NARROW_MTU6: u16 = 1280;
/// The external IPv6 addresses of the pools.
const WEB: [&str; 3] = ["2001:db8:ff::1", "2001:db8:ff::2", "2001:db8:ff::3"];
const BANK: [&str; 2] = ["2001:db8:ff::9", "2001:db8:ff::a"];

/// The operator's own prefix, behind the well-known one.
pub fn own_prefix() -> Prefix64 {
    Prefix64::new(ip6("2001:db8:64::"), 96).expect("a prefix")
}

/// See the module.
pub fn dual() -> Site {
    dual_with(|_| ())
}

/// The same, with an intent that differs.
pub fn dual_with(change: impl FnOnce(&mut Intent)) -> Site {
    dual_of([Prefix64::WELL_KNOWN, own_prefix()], 256, change)
}

/// The same, with these prefixes, and room for so many flows of each version.
pub fn dual_of(prefixes: [Prefix64; 2], flows: usize, change: impl FnOnce(&mut Intent)) -> Site {
    let mut intent = both(prefixes);
    change(&mut intent);
    Site::new(intent, flows)
}

/// What such a site is for.
pub fn both(prefixes: [Prefix64; 2]) -> Intent {
    let mut intent = usual();
    intent.prefixes = prefixes.to_vec();
    for (pool, addresses) in intent.pools.iter_mut().zip([&WEB[..], &BANK]) {
        let addresses = addresses.iter().map(|address| IpAddr::from(ip6(address)));
        pool.addresses.extend(addresses);
    }
    let anywhere = |source: &str, pool: &str| {
        let mut rule = rule(source, "::/0", from_pool(pool));
        rule.destinations.insert(0, IpNet::default());
        rule
    };
    intent.rules.extend([
        rule("fd00::/8", "fd00::/8", Action::Pass),
        anywhere("fd07::/16", "bank"),
        anywhere("fd00::/8", "web"),
    ]);
    intent
}

/// Where packets of both versions go.
pub fn route6(query: &RouteQuery<Ip6>) -> Result<NextHop, Route> {
    let tuple = &query.tuple;
    if let Some(tuple) = tuple.narrow() {
        return route(&RouteQuery {
            tuple,
            ingress: query.ingress,
            protocol: query.protocol,
        });
    }
    assert!(
        tuple.source.ip4().is_none() && tuple.target.ip4().is_none(),
        "a packet of two versions: {tuple:?}"
    );
    let hop = |ifindex, mtu| {
        let macs = (peer_mac(ifindex), own_mac(ifindex));
        Ok(NextHop::new(ifindex, mtu, macs.0, macs.1))
    };
    let [a, b, c, d, e, f, ..] = tuple.target.0;
    match [a, b, c, d, e, f] {
        [0xfd, 0, 0, 0, 0, 0] if is_own(tuple.target) => Err(Route::Local),
        // Clients behind a narrow link, and behind one that the kernel sends by.
        [0xfd, 0x12, ..] => hop(INSIDE, NARROW_MTU6),
        [0xfd, 0x13, ..] => Err(Route::Unresolved),
        [0xfd, ..] => hop(INSIDE, 1500),
        [0x20, 0x01, 0x0d, 0xb8, 0, 0x12] => hop(OUTSIDE, NARROW_MTU6),
        [0x20, 0x01, 0x0d, 0xb8, 0, 0x13] => Err(Route::Unresolved),
        [0x20, 0x01, 0x0d, 0xb8, 0, 0x14] => Err(Route::Nowhere),
        _ => hop(OUTSIDE, 1500),
    }
}

/// Whether an address is one of our interfaces'.
fn is_own(address: Ip6) -> bool {
    [INSIDE, OUTSIDE, ARM].map(own_address6).contains(&address)
}

/// Takes a sketch of IPv6 through by an interface, and every law with it.
pub fn send6(site: &Site, ingress: u32, sketch: &Sketch6) -> Left {
    take(&site.memory, arriving(ingress, sketch).frame())
}

/// A sketch as it arrives by an interface, for us.
pub fn arriving(ingress: u32, sketch: &Sketch6) -> Sketch6 {
    Sketch6 {
        ingress,
        to: own_mac(ingress),
        from: peer_mac(ingress),
        ..sketch.clone()
    }
}
