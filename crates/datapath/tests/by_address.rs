//! SCTP, GRE and ESP: of their packets addresses alone are translated, because no port may change or there
//! is none; so two clients of the same remote need two external addresses.

use std::time::Duration;

use abi::{Behaviour, Dependence, Ip4, Port, Protocol, Reason, Tuple, limits::SPARE_TRIES};
use datapath::Exit;
use gateway::{intent::Pool, sweep::FlowState};

use crate::rig::{
    Left, Site, Sketch,
    site::{INSIDE, OUTSIDE, from_pool, intent, pool, rule, tuple},
    sketch::read,
};

const CLIENT: [u8; 4] = [10, 1, 0, 1];
const REMOTE: [u8; 4] = [198, 51, 100, 4];
const ROUTER: Ip4 = Ip4([203, 0, 113, 77]);

/// A gateway with one pool of these addresses.
fn site(addresses: impl IntoIterator<Item = u8>) -> Site {
    site_of(pool("a", addresses, (1024, 65_535)))
}

fn site_of(pool: Pool) -> Site {
    let rules = vec![rule("10.1.0.0/16", "0.0.0.0/0", from_pool("a"))];
    Site::new(intent(vec![pool], rules), 4096)
}

/// What a client sends to a remote; only SCTP has ports.
fn talk(protocol: Protocol, client: [u8; 4], remote: [u8; 4]) -> Tuple {
    match protocol {
        Protocol::Gre | Protocol::Esp => tuple((client, 0), (remote, 0)),
        Protocol::Sctp | Protocol::Tcp | Protocol::Udp | Protocol::Icmp => {
            tuple((client, 3868), (remote, 3868))
        }
    }
}

fn out(site: &Site, protocol: Protocol, client: [u8; 4], remote: [u8; 4]) -> Left {
    let sketch = Sketch::first(protocol, talk(protocol, client, remote));
    site.send(INSIDE, &sketch.payload(&[7; 64]))
}

/// The tuple that the remote sees.
fn seen(left: &Left) -> Tuple {
    assert_eq!(left.reason, Reason::TranslatedOut);
    read(&left.after.bytes).expect("such a packet").1
}

#[test]
fn ports_and_payload_stay_and_the_answer_reaches_who_asked() {
    for protocol in Protocol::BY_ADDRESS {
        let site = site([7]);
        let sent = talk(protocol, CLIENT, REMOTE);

        let out = out(&site, protocol, CLIENT, REMOTE);

        let seen = seen(&out);
        assert_eq!(seen.source, Ip4([192, 0, 2, 7]));
        assert_eq!(
            (seen.source_port, seen.target_port),
            (sent.source_port, sent.target_port)
        );
        assert_eq!(
            out.before.bytes[34..],
            out.after.bytes[34..],
            "{protocol:?}"
        );
        let back = site.send(OUTSIDE, &Sketch::answer(protocol, seen.reversed()));
        assert_eq!(back.reason, Reason::TranslatedIn);
        assert_eq!(
            read(&back.after.bytes).expect("such a packet").1,
            sent.reversed()
        );
    }
}

#[test]
fn two_clients_of_one_remote_have_two_addresses_and_the_third_is_refused_by_name() {
    for protocol in Protocol::BY_ADDRESS {
        let site = site([7, 8]);

        let first = seen(&out(&site, protocol, CLIENT, REMOTE)).source;
        let second = seen(&out(&site, protocol, [10, 1, 0, 2], REMOTE)).source;
        let third = out(&site, protocol, [10, 1, 0, 3], REMOTE);

        assert_ne!(first, second, "{protocol:?}");
        assert_eq!(third.reason, Reason::NoSpareAddress);
        assert_eq!(third.exit, Exit::Transmit, "the client is told");
        // Another remote is another flow on any address.
        seen(&out(&site, protocol, [10, 1, 0, 3], [198, 51, 100, 5]));
    }
}

/// As many as are tried for one flow.
#[test]
fn every_address_of_a_pool_is_found_before_a_flow_is_refused() {
    const TRIED: u8 = SPARE_TRIES as u8;
    let site = site(1..=TRIED);
    let mut used = std::collections::BTreeSet::new();
    for client in 1..=TRIED {
        let source = seen(&out(&site, Protocol::Gre, [10, 1, 1, client], REMOTE)).source;
        assert!(used.insert(source), "{source:?} twice");
    }
    assert_eq!(
        out(&site, Protocol::Gre, CLIENT, REMOTE).reason,
        Reason::NoSpareAddress
    );
}

#[test]
fn a_client_has_the_address_of_its_other_flows_as_long_as_that_is_free() {
    let site = site(1..=50);
    for client in 1..=50 {
        let client = [10, 1, 2, client];
        let remote = |last| [198, 51, 100, last];
        let udp = seen(&out(&site, Protocol::Udp, client, remote(1))).source;
        for protocol in Protocol::BY_ADDRESS {
            // A remote of its own, so that nobody has it on the address.
            let own = remote(100 + client[3]);
            assert_eq!(seen(&out(&site, protocol, client, own)).source, udp);
        }
    }
}

#[test]
fn nobody_else_is_let_in_whatever_the_pool_filters() {
    let open = Behaviour::new(
        [Dependence::Endpoint; 3],
        [Dependence::Endpoint; 3],
        true,
        0,
    );
    let open = Protocol::BY_ADDRESS
        .into_iter()
        .fold(open, Behaviour::with_by_address);
    let site = site_of(Pool {
        behaviour: open,
        ..pool("a", [7], (1024, 65_535))
    });
    for protocol in Protocol::BY_ADDRESS {
        let seen = seen(&out(&site, protocol, CLIENT, REMOTE));
        let other = Tuple {
            source: Ip4([198, 51, 100, 9]),
            ..seen.reversed()
        };
        let knock = site.send(OUTSIDE, &Sketch::answer(protocol, other));
        assert_eq!(knock.reason, Reason::Unsolicited, "{protocol:?}");
    }
    let seen = seen(&out(&site, Protocol::Sctp, CLIENT, REMOTE));
    let other = Tuple {
        source_port: Port::new(9),
        ..seen.reversed()
    };
    let knock = site.send(OUTSIDE, &Sketch::answer(Protocol::Sctp, other));
    assert_eq!(knock.reason, Reason::Unsolicited);
}

#[test]
fn what_a_pool_does_not_translate_is_dropped_by_name() {
    let some = Behaviour::new([Dependence::Endpoint; 3], [Dependence::Address; 3], true, 0)
        .with_by_address(Protocol::Esp);
    let site = site_of(Pool {
        behaviour: some,
        ..pool("a", [7], (1024, 65_535))
    });

    assert_eq!(
        out(&site, Protocol::Gre, CLIENT, REMOTE).reason,
        Reason::Protocol
    );
    assert_eq!(
        out(&site, Protocol::Sctp, CLIENT, REMOTE).reason,
        Reason::Protocol
    );
    seen(&out(&site, Protocol::Esp, CLIENT, REMOTE));
    // DCCP, which no pool translates.
    let mut dccp = Sketch::first(Protocol::Gre, talk(Protocol::Gre, CLIENT, REMOTE));
    dccp.message = crate::rig::sketch::Message::Other(33);
    assert_eq!(site.send(INSIDE, &dccp).reason, Reason::Protocol);
}

#[test]
fn a_call_to_an_external_address_by_another_client_is_nobodys() {
    let site = site([7]);
    for protocol in Protocol::BY_ADDRESS {
        seen(&out(&site, protocol, CLIENT, REMOTE));
        let call = out(&site, protocol, [10, 1, 0, 2], [192, 0, 2, 7]);
        assert_eq!(call.reason, Reason::Unsolicited, "{protocol:?}");
    }
}

#[test]
fn an_icmp_error_about_such_a_flow_reaches_the_client_with_eight_bytes_quoted() {
    for protocol in Protocol::BY_ADDRESS {
        let site = site([7]);
        let out = out(&site, protocol, CLIENT, REMOTE);
        for quoted in [28, 60] {
            let error = Sketch::error(3, ROUTER, &out.after.bytes, quoted);

            let left = site.send(OUTSIDE, &error);

            assert_eq!(left.reason, Reason::ErrorTranslated, "{protocol:?}");
            assert_eq!(left.after.bytes[30..34], CLIENT);
            // The quoted packet as the client sent it.
            assert_eq!(left.after.bytes[42 + 12..42 + 20], out.before.bytes[26..34]);
            assert_eq!(left.after.bytes[62..70], out.before.bytes[34..42]);
        }
    }
}

#[test]
fn fragments_follow_their_first_one() {
    for protocol in Protocol::BY_ADDRESS {
        let site = site([7]);
        let sketch = Sketch::first(protocol, talk(protocol, CLIENT, REMOTE)).payload(&[9; 36]);
        let mut first = sketch.clone();
        first.part = (true, 0);
        let length = first.frame().bytes.len() - 34;
        let mut later = sketch;
        later.message = crate::rig::sketch::Message::Other(protocol as u8);
        later.part = (false, (length as u16).div_ceil(8));

        assert_eq!(site.send(INSIDE, &first).reason, Reason::TranslatedOut);
        let left = site.send(INSIDE, &later);

        assert_eq!(left.reason, Reason::TranslatedOut, "{protocol:?}");
        assert_eq!(left.after.bytes[26..30], [192, 0, 2, 7]);
        assert_eq!(left.before.bytes[34..], left.after.bytes[34..]);
    }
}

#[test]
fn a_silent_flow_ends_by_the_timeout_of_its_protocol_and_its_address_is_free_again() {
    for (protocol, seconds) in [
        (Protocol::Sctp, 30),
        (Protocol::Gre, 40),
        (Protocol::Esp, 45),
    ] {
        let mut site = site([7]);
        seen(&out(&site, protocol, CLIENT, REMOTE));
        site.pass(Duration::from_secs(seconds - 1));
        let swept = site.sweep();
        assert_eq!(swept.flows.get(&(protocol, FlowState::Active)), Some(&1));
        assert_eq!(
            out(&site, protocol, [10, 1, 0, 2], REMOTE).reason,
            Reason::NoSpareAddress
        );

        site.pass(Duration::from_secs(4));
        site.sweep();

        assert!(site.memory.v4.flows.all().is_empty(), "{protocol:?}");
        seen(&out(&site, protocol, [10, 1, 0, 2], REMOTE));
    }
}

#[test]
fn a_cut_sctp_header_begins_nothing() {
    let site = site([7]);
    let mut cut = Sketch::first(Protocol::Gre, talk(Protocol::Gre, CLIENT, REMOTE));
    cut.message = crate::rig::sketch::Message::Other(132);

    assert_eq!(
        site.send(INSIDE, &cut.clone().payload(&[1; 11])).reason,
        Reason::Protocol
    );
    cut.part = (true, 0);
    assert_eq!(
        site.send(INSIDE, &cut.payload(&[1; 8])).reason,
        Reason::Fragment
    );
    assert!(site.memory.v4.flows.all().is_empty());
}
