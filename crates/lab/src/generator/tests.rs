//! Flows are distinct, and ports stay in their range.

use std::collections::BTreeSet;

use super::*;
use crate::verify_checksums;

const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 250);
const TARGET: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 11), 53);

#[test]
fn every_number_is_a_flow_of_its_own() {
    let flows = Flows::udp(SOURCE, TARGET).sources(8).ports(60_000, 5_000);

    let sources: BTreeSet<_> = (0..flows.count())
        .map(|number| flows.source(number))
        .collect();

    assert_eq!(flows.count(), 40_000);
    assert_eq!(sources.len(), 40_000);
    assert!(sources.contains(&SocketAddrV4::new(Ipv4Addr::new(10, 2, 1, 1), 64_999)));
}

#[test]
fn ports_never_go_past_the_last_one() {
    let flows = Flows::syn(SOURCE, TARGET).ports(65_000, 1_000);

    assert_eq!(flows.source(flows.count() - 1).port(), 65_534);
}

#[test]
fn frames_of_all_flows_have_right_checksums() {
    for flows in [
        Flows::udp(SOURCE, TARGET).payload(33),
        Flows::syn(SOURCE, TARGET),
    ] {
        let flows = flows.sources(300);
        let mut frame = flows.frame().build().unwrap();
        let template = Template::new(&frame, flows.kind);

        for number in (0..flows.count()).step_by(977) {
            template.write(&mut frame, flows.source(number), number);

            verify_checksums(&frame).unwrap();
        }
    }
}
