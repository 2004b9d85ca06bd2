//! Flows that end: what is swept out of the tables, and what never happens meanwhile.

use std::time::Duration;

use abi::{Protocol, Reason, Tuple};
use proptest::prelude::*;

use crate::{
    cases,
    rig::{
        Site, Sketch,
        laws::taken_is_mapped,
        site::{INSIDE, OUTSIDE, TIMEOUTS, tuple, usual},
        sketch::{ACK, FIN, RST, read},
        story::tell,
    },
};

proptest! {
    #![proptest_config(cases(64))]

    /// Random traffic, time, sweeps, reloads and restarts, and packets in the middle of each other.
    #[test]
    fn whatever_happens_no_flows_share_a_tuple_and_in_the_end_everything_is_free(
        bytes in prop::collection::vec(any::<u8>(), 0..800),
    ) {
        tell(&bytes);
    }
}

/// A connection that is open, and how the client's remote sees it.
fn opened(site: &Site, protocol: Protocol) -> (Tuple, Tuple) {
    let port = if protocol == Protocol::Icmp { 0 } else { 443 };
    let asked = tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, 1], port));
    let out = site.send(INSIDE, &Sketch::first(protocol, asked));
    let (_, seen) = read(&out.after.bytes).expect("still such a packet");
    let back = site.send(OUTSIDE, &Sketch::answer(protocol, seen.reversed()));
    assert_eq!(back.reason, Reason::TranslatedIn);
    let again = Sketch::first(protocol, asked).flags(ACK);
    assert_eq!(site.send(INSIDE, &again).reason, Reason::TranslatedOut);
    (asked, seen)
}

/// A flow lives this long after its last packet, to within the two ticks that clocks are coarse.
#[track_caller]
fn lives_for(protocol: Protocol, last: &[(bool, u8)], timeout: Duration) {
    let mut site = Site::new(usual(), 16);
    let (asked, seen) = opened(&site, protocol);
    for (is_outbound, flags) in last {
        let left = match is_outbound {
            true => site.send(INSIDE, &Sketch::first(protocol, asked).flags(*flags)),
            false => site.send(
                OUTSIDE,
                &Sketch::answer(protocol, seen.reversed()).flags(*flags),
            ),
        };
        assert!(left.is_translated());
    }

    site.pass(timeout);
    site.sweep();
    assert_eq!(site.memory.v4.flows.len(), 2, "it is not ended early");
    site.pass(Duration::from_secs(3));
    let swept = site.sweep();
    assert_eq!(swept.ended.len(), 2, "it is ended in time");
    assert!(site.memory.v4.flows.is_empty());
}

#[test]
fn flows_live_for_their_timeouts() {
    lives_for(Protocol::Udp, &[], TIMEOUTS.udp);
    lives_for(Protocol::Icmp, &[], TIMEOUTS.icmp);
    lives_for(Protocol::Tcp, &[], TIMEOUTS.tcp_established);
    lives_for(
        Protocol::Tcp,
        &[(true, ACK | FIN)],
        TIMEOUTS.tcp_established,
    );
    lives_for(
        Protocol::Tcp,
        &[(true, ACK | FIN), (false, ACK | FIN)],
        TIMEOUTS.tcp_closing,
    );
    lives_for(Protocol::Tcp, &[(false, RST)], TIMEOUTS.tcp_closing);
}

#[test]
fn a_connection_that_begins_again_in_its_old_place_is_open_again() {
    let mut site = Site::new(usual(), 16);
    let (asked, seen) = opened(&site, Protocol::Tcp);
    for flags in [ACK | FIN, ACK] {
        site.send(INSIDE, &Sketch::first(Protocol::Tcp, asked).flags(flags));
        site.send(
            OUTSIDE,
            &Sketch::answer(Protocol::Tcp, seen.reversed()).flags(flags),
        );
    }

    assert_eq!(opened(&site, Protocol::Tcp), (asked, seen));

    site.pass(TIMEOUTS.tcp_closing + Duration::from_secs(10));
    site.sweep();
    assert_eq!(site.memory.v4.flows.len(), 2);
}

#[test]
fn a_port_is_free_again_soon_after_its_flows_have_ended() {
    let mut site = Site::new(usual(), 16);
    opened(&site, Protocol::Udp);
    site.pass(TIMEOUTS.udp + Duration::from_secs(3));

    let mut sweeps = 0;
    while !site.memory.v4.mappings.is_empty() || sweeps < 3 {
        site.sweep();
        site.pass(Duration::from_secs(1));
        sweeps += 1;
    }

    assert_eq!(sweeps, 3);
    taken_is_mapped(&site.memory);
}

#[test]
fn a_flow_whose_direction_is_missing_is_removed_and_frees_its_port() {
    for missing in [abi::Side::Outbound, abi::Side::Inbound] {
        let mut site = Site::new(usual(), 16);
        opened(&site, Protocol::Udp);
        let all = site.memory.v4.flows.all();
        let (key, _) = all
            .iter()
            .find(|(_, flow)| flow.side() == missing)
            .expect("it has both");
        site.memory.v4.flows.remove(key);
        site.pass(Duration::from_secs(5));

        let swept = site.sweep();
        for _ in 0..3 {
            site.sweep();
        }

        assert_eq!(swept.orphans, 1);
        assert!(site.memory.v4.flows.is_empty() && site.memory.v4.mappings.is_empty());
        taken_is_mapped(&site.memory);
    }
}
