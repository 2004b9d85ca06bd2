//! A site of both versions of IP: what [`usual`] has, the same of IPv6, and two prefixes that stand for
//! IPv4 addresses.

use std::rc::Rc;

use abi::{
    Address, ClassKey, Config, Dimension, External, ExternalState, Ip6, NextHop, Prefix64, RuleSet,
    Slot, Slots6, limits::SLOTS, policy::pool_index,
};
use datapath::world::{Route, RouteQuery};
use gateway::{
    bitmaps,
    intent::{Action, Intent},
};

use super::{
    Left, Site, Sketch6,
    site::{ARM, INSIDE, OUTSIDE, from_pool, own_mac, peer_mac, route, rule, usual},
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

/// The IPv6 address of one of our interfaces.
pub fn own_address6(ifindex: u32) -> Ip6 {
    ip6(&format!("fd00::ff:{ifindex}"))
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
    let mut intent = usual();
    // Their places among the rules; what they are about of IPv6 follows below.
    let (nobody, all) = ("240.0.0.1/32", "0.0.0.0/0");
    intent.rules.extend([
        rule(nobody, nobody, Action::Pass),
        rule(nobody, all, from_pool("bank")),
        rule(nobody, all, from_pool("web")),
    ]);
    change(&mut intent);
    let site = Site::new(intent, flows);
    let config = **site.memory.config.borrow();
    let mut config = Config { ..config };
    (config.prefixes[0], config.prefixes[1]) = (prefixes[0], prefixes[1]);
    *site.memory.config.borrow_mut() = Rc::new(config);
    *site.memory.v6.routes.borrow_mut() = Rc::new(route6);
    for ifindex in [INSIDE, OUTSIDE, ARM] {
        let interface = site.memory.interfaces.get(&ifindex).expect("ours");
        let interface = interface.with_address6(own_address6(ifindex));
        site.memory.interfaces.put(ifindex, interface);
    }
    put_classes(&site, config.version);
    put_pool(&site, config.version, ("web", &WEB, 200));
    put_pool(&site, config.version, ("bank", &BANK, 210));
    site
}

fn put_classes(site: &Site, version: u32) {
    for (dimension, prefix, bits, rules) in [
        (Dimension::Source, "fd00::", 8, &[3, 5][..]),
        (Dimension::Source, "fd07::", 16, &[3, 4, 5]),
        (Dimension::Destination, "::", 0, &[4, 5]),
        (Dimension::Destination, "fd00::", 8, &[3, 4, 5]),
    ] {
        let key = ClassKey::<Ip6>::address(version, dimension, ip6(prefix), bits);
        let mut set = RuleSet::EMPTY;
        rules.iter().for_each(|rule| set.0[0] |= 1 << rule);
        site.memory.v6.classes.put(key, set);
    }
}

/// Gives a pool IPv6 addresses beside its IPv4 ones.
fn put_pool(site: &Site, version: u32, (name, addresses, first): (&str, &[&str], u16)) {
    let number = site.gateway.numbers().pools[name];
    let pool = site.memory.pools.get(&pool_index(version, number));
    let behaviour = pool.expect("it is wanted").behaviour;
    let externals = site.memory.v4.externals.all();
    let sibling = externals.iter().find(|(_, it)| it.pool == number);
    let ports = sibling.map_or((abi::Port::new(1024), abi::Port::new(65_535)), |(_, it)| {
        (it.first, it.last)
    });
    let mut slots = [Slot::default(); SLOTS];
    for (index, address) in addresses.iter().enumerate() {
        let (address, number_of) = (ip6(address), first + index as u16);
        let state = ExternalState::Serving;
        let external = External::new((number_of, number), state, ports, behaviour);
        bitmaps::prepare(&external, None, |it| site.memory.bitmap(it));
        site.memory.v6.externals.put(address, external);
        for slot in slots.iter_mut().skip(index).step_by(addresses.len()) {
            *slot = Slot {
                address,
                index: number_of,
                planes: 0,
                filled: 1,
            };
        }
    }
    let index = pool_index(version, number);
    site.memory.pools6.put(index, Slots6(slots));
}

/// Where packets of both versions go.
pub fn route6(query: &RouteQuery<Ip6>) -> Result<NextHop, Route> {
    let tuple = &query.tuple;
    if let (Some(source), Some(target)) = (tuple.source.ip4(), tuple.target.ip4()) {
        return route(&RouteQuery {
            tuple: abi::Tuple {
                source,
                target,
                source_port: tuple.source_port,
                target_port: tuple.target_port,
            },
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
        [0xfd, 0, 0, 0, 0, 0] if tuple.target.0[12..15] == [0, 0xff, 0] => Err(Route::Local),
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
