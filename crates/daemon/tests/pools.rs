//! Ports and traffic of pools.

use abi::Protocol;
use api::http::{AddressState, Pool, Pools, path};

use crate::rig::{
    CONFIG, Gateway,
    entries::{self, Entry},
};

fn pool(gateway: &Gateway, name: &str) -> Pool {
    let pools: Pools = gateway.get(path::POOLS);
    pools
        .pools
        .into_iter()
        .find(|pool| pool.name == name)
        .unwrap()
}

#[test]
fn ports_outside_a_pools_range_are_neither_used_nor_free() {
    let gateway = Gateway::start();

    let (a, b) = (pool(&gateway, "team-a"), pool(&gateway, "team-b"));

    assert_eq!((a.first_port, a.last_port), (1024, 65535));
    assert_eq!((b.first_port, b.last_port), (20000, 29999));
    for (pool, ports) in [(a, 64512), (b, 10000)] {
        for address in pool.addresses {
            assert_eq!(address.state, AddressState::Serving);
            assert_eq!((address.tcp.used, address.tcp.free), (0, ports));
            assert_eq!((address.udp.used, address.udp.free), (0, ports));
            // Identifiers are no ports.
            assert_eq!((address.icmp.used, address.icmp.free), (0, 65536));
        }
    }
}

#[test]
fn a_port_that_a_flow_has_is_used_on_its_address_and_for_its_protocol() {
    let gateway = Gateway::start();
    let flow = |protocol, port: u16| Entry {
        protocol,
        ..Entry::tcp(
            &format!("10.1.0.7:{port}"),
            &format!("192.0.2.11:{port}"),
            "198.51.100.9:443",
        )
    };
    let flows = [
        flow(Protocol::Tcp, 1024),
        flow(Protocol::Tcp, 65535),
        flow(Protocol::Udp, 5000),
    ];
    entries::write(&gateway.tables, &flows);

    let addresses = pool(&gateway, "team-a").addresses;

    assert_eq!((addresses[0].tcp.used, addresses[0].udp.used), (0, 0));
    assert_eq!((addresses[1].tcp.used, addresses[1].tcp.free), (2, 64510));
    assert_eq!((addresses[1].udp.used, addresses[1].udp.free), (1, 64511));
    assert_eq!((addresses[1].icmp.used, addresses[1].icmp.free), (0, 65536));
}

#[test]
fn a_pool_that_goes_drains_and_has_nothing_to_give() {
    let gateway = Gateway::start();
    let flow = Entry::tcp("10.1.0.7:40000", "192.0.2.10:40001", "198.51.100.9:5432");
    entries::write(&gateway.tables, &[flow]);
    // Only what was seen in use at a sweep is kept.
    gateway.await_status(|status| status.flows.active == 1);

    let without = CONFIG
        .replace("team-a", "team-c")
        .replace("[192.0.2.10, 192.0.2.11]", "[192.0.2.12]");
    assert_eq!(gateway.apply(&without, |_| ()).status, 200);

    let pools: Pools = gateway.get(path::POOLS);
    let names: Vec<_> = pools
        .pools
        .iter()
        .map(|pool| (pool.name.as_str(), pool.draining))
        .collect();
    assert_eq!(
        names,
        [("team-c", false), ("team-b", false), ("team-a", true)]
    );
    let drains = &pools.pools[2].addresses[0];
    assert_eq!(drains.state, AddressState::Draining);
    assert_eq!((drains.tcp.used, drains.tcp.free), (1, 0));
    assert_eq!(drains.flows, 1);
}
