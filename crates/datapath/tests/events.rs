//! What the packet path tells the session log.

use abi::{Protocol, Reason};

use crate::rig::{
    Site, Sketch,
    site::{INSIDE, tuple, usual},
};

fn first(protocol: Protocol, client: u8) -> Sketch {
    let port = if protocol == Protocol::Icmp { 0 } else { 443 };
    let service = ([198, 51, 100, 1], port);
    Sketch::first(protocol, tuple(([10, 0, 0, client], 4000), service))
}

#[test]
fn a_flow_that_begins_is_told_once_and_as_the_tables_have_it() {
    let site = Site::new(usual(), 1000);

    for protocol in Protocol::PORTED {
        for client in 1..50 {
            for _ in 0..3 {
                let left = site.send(INSIDE, &first(protocol, client));
                assert_eq!(left.reason, Reason::TranslatedOut);
            }
        }
    }

    let events = site.memory.v4.events.borrow();
    assert_eq!(events.len(), 3 * 49);
    for event in events.iter() {
        let flow = site.memory.v4.flows.get(&event.asked).unwrap();
        assert_eq!((flow.to, flow.pool()), (event.sent, event.pool));
        assert_eq!(event.at, flow.created.nanos());
    }
}

#[test]
fn a_flow_that_does_not_begin_is_not_told() {
    let site = Site::new(usual(), 1);
    site.send(INSIDE, &first(Protocol::Udp, 1));

    let left = site.send(INSIDE, &first(Protocol::Udp, 2));

    assert_eq!(left.reason, Reason::FlowTableFull);
    assert_eq!(site.memory.v4.events.borrow().len(), 1);
}
