//! Mappings that are asked for while the gateway runs (RFC 6888 REQ-9): what RFC 6887's MAP does, seen
//! from outside.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use abi::{Behaviour, Dependence, Protocol, Reason, limits::LEASES_OF_CLIENT_MAX};
use gateway::{
    Event,
    intent::{Forward, Intent, Pool, PortRange},
    mappings::{Ask, Denied, Owner, Withdraw},
};

use crate::rig::{
    Left, Site, Sketch,
    laws::{safe, sound},
    site::{INSIDE, OUTSIDE, from_pool, intent, pool, rule, tuple},
    sketch::read,
};

type Endpoint = ([u8; 4], u16);

const HOST: Endpoint = ([10, 1, 0, 80], 8443);
const OTHER: Endpoint = ([10, 1, 0, 81], 5000);
const REMOTE: Endpoint = ([198, 51, 100, 4], 4440);
const STRANGER: Endpoint = ([198, 51, 100, 5], 4440);
const OURS: [u8; 4] = [192, 0, 2, 1];

fn policy(behaviour: Behaviour) -> Intent {
    let web = Pool {
        behaviour,
        ..pool("web", [1], (2000, 2099))
    };
    let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
    intent(vec![web], rules)
}

fn usual() -> Site {
    Site::new(policy(Pool::BEHAVIOUR_DEFAULT), 1024)
}

fn socket((address, port): Endpoint) -> SocketAddr {
    (address, port).into()
}

fn endpoint(socket: SocketAddr) -> Endpoint {
    let IpAddr::V4(address) = socket.ip() else {
        panic!("{socket} is not of IPv4");
    };
    (address.octets(), socket.port())
}

fn named(name: &str) -> Owner {
    Owner::named(name).expect("it is short")
}

/// For UDP, an hour, any port, by nobody in particular.
fn ask(internal: Endpoint) -> Ask {
    Ask {
        protocol: Protocol::Udp,
        internal: socket(internal),
        address: None,
        port: None,
        prefer_failure: false,
        lifetime: Duration::from_secs(3600),
        owner: Owner::default(),
    }
}

fn withdraw(internal: Endpoint) -> Withdraw {
    Withdraw {
        protocol: Protocol::Udp,
        internal: socket(internal),
        owner: Owner::default(),
    }
}

fn granted(site: &mut Site, ask: &Ask) -> Endpoint {
    endpoint(site.ask(ask).expect("it is granted").external)
}

fn call(site: &Site, from: Endpoint, to: Endpoint) -> Left {
    site.send(OUTSIDE, &Sketch::first(Protocol::Udp, tuple(from, to)))
}

#[track_caller]
fn reaches(site: &Site, from: Endpoint, external: Endpoint, host: Endpoint) {
    let left = call(site, from, external);
    assert_eq!(left.reason, Reason::TranslatedIn);
    assert_eq!(
        read(&left.after.bytes).expect("such a packet").1,
        tuple(from, host)
    );
}

fn dial(site: &Site, from: Endpoint, to: Endpoint) -> Endpoint {
    let left = site.send(INSIDE, &Sketch::first(Protocol::Udp, tuple(from, to)));
    assert_eq!(left.reason, Reason::TranslatedOut);
    let seen = read(&left.after.bytes).expect("such a packet").1;
    (seen.source.0, seen.source_port.get())
}

fn pass(site: &mut Site, seconds: u64) {
    site.pass(Duration::from_secs(seconds));
    site.sweep();
}

#[test]
fn who_asks_is_reached_by_everybody_and_seen_by_that_port() {
    for mapping in Dependence::ALL {
        for filtering in Dependence::ALL {
            let plain = Behaviour::new([mapping; 3], [filtering; 3], true, 0);
            for behaviour in [plain, plain.overloading()] {
                let mut site = Site::new(policy(behaviour), 1024);
                let external = granted(&mut site, &ask(HOST));

                assert_eq!(external.0, OURS);
                assert!((2000..2100).contains(&external.1));
                assert_eq!(external.1 % 2, HOST.1 % 2, "parity is kept");
                for from in [REMOTE, STRANGER] {
                    reaches(&site, from, external, HOST);
                    assert_eq!(dial(&site, HOST, from), external);
                }
                safe(&site.memory);
            }
        }
    }
}

#[test]
fn the_port_that_was_suggested_is_granted_if_it_is_free() {
    let mut site = usual();
    let wish = |internal, port| Ask {
        port: Some(port),
        ..ask(internal)
    };
    assert_eq!(granted(&mut site, &wish(HOST, 2044)), (OURS, 2044));

    let other = granted(&mut site, &wish(OTHER, 2044));
    assert_ne!(other, (OURS, 2044));
    reaches(&site, REMOTE, other, OTHER);

    let only = |internal, port| Ask {
        prefer_failure: true,
        ..wish(internal, port)
    };
    let third = ([10, 1, 0, 82], 1);
    for port in [2044, 80, 2100] {
        let denied = site.ask(&only(third, port)).expect_err("it is not free");
        let address = OURS.into();
        assert_eq!(denied, Denied::NotFree { address, port });
    }
    assert_eq!(granted(&mut site, &only(third, 2046)), (OURS, 2046));
    let denied = site.ask(&only(third, 2048)).expect_err("it has another");
    assert!(matches!(denied, Denied::Elsewhere { .. }), "{denied}");
    sound(&site.memory);
}

#[test]
fn an_internal_port_that_the_pool_gives_out_is_the_external_one_if_it_is_free() {
    let mut site = usual();

    assert_eq!(granted(&mut site, &ask((HOST.0, 2021))), (OURS, 2021));
    assert_ne!(granted(&mut site, &ask((OTHER.0, 2021))), (OURS, 2021));
}

/// RFC 4787 REQ-1: an endpoint is not seen by two ports because it also asked for one.
#[test]
fn an_endpoint_that_has_a_port_is_granted_that_one() {
    let mut site = usual();
    let external = dial(&site, HOST, REMOTE);
    let wish = Ask {
        port: Some(external.1 ^ 4),
        ..ask(HOST)
    };
    let only = Ask {
        prefer_failure: true,
        ..wish
    };
    let denied = site.ask(&only).expect_err("it has another");
    assert!(matches!(denied, Denied::Elsewhere { .. }), "{denied}");

    assert_eq!(granted(&mut site, &wish), external);

    reaches(&site, STRANGER, external, HOST);
    pass(&mut site, 1000);
    pass(&mut site, 1);
    reaches(&site, STRANGER, external, HOST);
    sound(&site.memory);
}

#[test]
fn a_mapping_stands_until_its_time_is_over_and_can_be_renewed() {
    let mut site = usual();
    let external = granted(&mut site, &ask(HOST));
    for _ in 0..3 {
        pass(&mut site, 3000);
        reaches(&site, REMOTE, external, HOST);
        let other_wish = Ask {
            port: Some(2098),
            ..ask(HOST)
        };
        assert_eq!(granted(&mut site, &other_wish), external);
    }

    pass(&mut site, 3601);
    pass(&mut site, 1);

    assert_eq!(call(&site, STRANGER, external).reason, Reason::Unsolicited);
    for _ in 0..3 {
        pass(&mut site, 1);
    }
    assert!(site.memory.v4.mappings.is_empty());
    assert_eq!(site.gateway.mappings().leases().count(), 0);
}

/// Nothing that is established is lost; nobody new is let in.
#[test]
fn the_flows_of_a_mapping_that_is_withdrawn_go_on() {
    let mut site = usual();
    let external = granted(&mut site, &ask(HOST));
    reaches(&site, REMOTE, external, HOST);

    site.withdraw(&withdraw(HOST)).expect("it is its own");
    for _ in 0..5 {
        pass(&mut site, 60);
        reaches(&site, REMOTE, external, HOST);
        assert_eq!(call(&site, STRANGER, external).reason, Reason::Filtered);
    }

    // Whoever comes back before they have ended has the same port again.
    assert_eq!(granted(&mut site, &ask(HOST)), external);
    site.withdraw(&withdraw(HOST)).expect("it is its own");
    let none = site.withdraw(&withdraw(HOST)).expect_err("there is none");
    let internal = socket(HOST);
    assert_eq!(none, Denied::NoMapping { internal });
    pass(&mut site, 1000);
    for _ in 0..3 {
        pass(&mut site, 1);
    }
    assert!(site.memory.v4.mappings.is_empty());
    sound(&site.memory);
}

#[test]
fn only_its_owner_renews_and_withdraws_a_mapping() {
    let mut site = usual();
    let own = Ask {
        owner: named("team-a"),
        ..ask(HOST)
    };
    let external = granted(&mut site, &own);
    let internal = socket(HOST);
    for owner in [Owner::default(), named("team-b")] {
        let denied = site.ask(&Ask { owner, ..own }).expect_err("another's");
        assert_eq!(denied, Denied::NotYours { internal });
        let by = Withdraw {
            owner,
            ..withdraw(HOST)
        };
        assert_eq!(site.withdraw(&by), Err(Denied::NotYours { internal }));
    }

    assert_eq!(granted(&mut site, &own), external);
    let by = Withdraw {
        owner: own.owner,
        ..withdraw(HOST)
    };
    assert_eq!(site.withdraw(&by).map(|it| it.internal), Ok(internal));
}

#[test]
fn only_a_client_of_a_pool_is_granted_a_port_and_only_of_tcp_or_udp() {
    let mut site = usual();
    let foreign = site.ask(&ask(([172, 16, 0, 1], 80))).expect_err("no rule");
    assert!(matches!(foreign, Denied::NoPool { .. }), "{foreign}");
    let ping = Ask {
        protocol: Protocol::Icmp,
        ..ask(HOST)
    };
    assert_eq!(site.ask(&ping), Err(Denied::NoPorts));
    let elsewhere = Ask {
        address: Some([192, 0, 2, 77].into()),
        ..ask(HOST)
    };
    assert_eq!(granted(&mut site, &elsewhere).0, OURS);
    let only = Ask {
        prefer_failure: true,
        internal: socket(OTHER),
        ..elsewhere
    };
    let denied = site.ask(&only).expect_err("not its address");
    assert!(matches!(denied, Denied::NotItsAddress { .. }), "{denied}");
}

#[test]
fn one_client_does_not_get_all_ports_and_each_gets_its_own() {
    let mut site = usual();
    let mut ports = Vec::new();
    for port in 0..LEASES_OF_CLIENT_MAX as u16 {
        ports.push(granted(&mut site, &ask((HOST.0, 1 + port))).1);
    }
    let client = HOST.0.into();
    let more = site.ask(&ask((HOST.0, 999)));
    assert_eq!(more, Err(Denied::TooManyOfClient { client }));

    for port in 0..36 {
        ports.push(granted(&mut site, &ask((OTHER.0, 1 + port))).1);
    }
    let address = OURS.into();
    let denied = site.ask(&ask((OTHER.0, 99)));
    assert_eq!(denied, Err(Denied::Exhausted { address }));
    ports.sort_unstable();
    assert!(ports.iter().copied().eq(2000..2100));
    sound(&site.memory);
}

#[test]
fn a_successor_finds_what_was_granted() {
    let mut site = usual();
    let own = Ask {
        owner: named("team-a"),
        ..ask(HOST)
    };
    let external = granted(&mut site, &own);
    let leases: Vec<_> = site.gateway.mappings().leases().copied().collect();

    let mut site = site.restarted();
    site.handle(Event::Configure(Box::new(policy(Pool::BEHAVIOUR_DEFAULT))));

    let found: Vec<_> = site.gateway.mappings().leases().copied().collect();
    assert_eq!(found, leases);
    pass(&mut site, 3000);
    reaches(&site, REMOTE, external, HOST);
    pass(&mut site, 700);
    pass(&mut site, 1);
    assert_eq!(call(&site, STRANGER, external).reason, Reason::Unsolicited);
}

/// Wherever the daemon is killed while it grants or withdraws, its successor knows of exactly what
/// stands, and in the end every port is free.
#[test]
fn a_successor_of_one_killed_at_any_point_has_whole_mappings_only() {
    for is_withdrawn in [false, true] {
        for done in 0..=6 {
            let mut site = usual();
            let mut actions = if is_withdrawn {
                granted(&mut site, &ask(HOST));
                let withdrawn = site.gateway.withdraw(&withdraw(HOST));
                withdrawn.expect("it is its own").1
            } else {
                site.decide_to_grant(&ask(HOST)).expect("it is granted").1
            };
            actions.truncate(done);
            site.act(actions);

            let mut site = site.restarted();
            site.handle(Event::Configure(Box::new(policy(Pool::BEHAVIOUR_DEFAULT))));

            let leases: Vec<_> = site.gateway.mappings().leases().copied().collect();
            let kept = site.kept_leases();
            assert!(leases.iter().map(|it| it.key()).eq(kept.into_keys()));
            for lease in &leases {
                reaches(&site, REMOTE, endpoint(lease.external), HOST);
            }
            sound(&site.memory);
            for seconds in [4000, 1, 1000, 1, 1, 1, 1] {
                pass(&mut site, seconds);
            }
            assert!(site.memory.v4.mappings.is_empty() && site.kept_leases().is_empty());
            let udp = abi::ports::bitmap(0, Protocol::Udp);
            assert_eq!(site.memory.taken(udp), 65_536 - 100);
        }
    }
}

#[test]
fn a_forward_of_the_configuration_goes_before_what_was_granted() {
    let mut site = usual();
    let external = granted(&mut site, &ask(HOST));
    reaches(&site, REMOTE, external, HOST);
    let mut wanted = policy(Pool::BEHAVIOUR_DEFAULT);
    wanted.pools[0].forwards = vec![Forward {
        name: "dns".to_owned(),
        protocol: Protocol::Udp,
        address: OURS.into(),
        ports: PortRange {
            first: external.1,
            last: external.1,
        },
        target: (OTHER.0.into(), OTHER.1),
        callers: Vec::new(),
    }];

    site.handle(Event::Configure(Box::new(wanted)));

    reaches(&site, STRANGER, external, OTHER);
    reaches(&site, REMOTE, external, HOST);
    assert_eq!(site.gateway.mappings().leases().count(), 0);
    let denied = site.ask(&ask(OTHER)).expect_err("it has a forward");
    assert!(matches!(denied, Denied::Forwarded { .. }), "{denied}");
    assert_ne!(granted(&mut site, &ask(HOST)), external);
    safe(&site.memory);
}

#[test]
fn an_address_that_leaves_its_pool_takes_its_mappings_along_but_not_their_flows() {
    let mut site = usual();
    let external = granted(&mut site, &ask(HOST));
    reaches(&site, REMOTE, external, HOST);
    let mut wanted = policy(Pool::BEHAVIOUR_DEFAULT);
    wanted.pools[0].addresses = vec![[192, 0, 2, 9].into()];

    site.handle(Event::Configure(Box::new(wanted)));

    reaches(&site, REMOTE, external, HOST);
    assert_eq!(call(&site, STRANGER, external).reason, Reason::Filtered);
    assert_eq!(site.gateway.mappings().leases().count(), 0);
    assert_eq!(granted(&mut site, &ask(HOST)).0, [192, 0, 2, 9]);
    pass(&mut site, 1000);
    for _ in 0..4 {
        pass(&mut site, 1);
    }
    assert_eq!(site.memory.v4.externals.len(), 1, "it is gone");
}
