//! Whose a bucket is said to be.

use std::net::{IpAddr, Ipv4Addr};

use api::http::{Endpoint, FlowState};
use gateway::cluster::{Member, Moves};

use super::*;

/// Three members, the order of whose one bucket is 2, 0, 1, as the first of them sees it.
fn members(standings: [Standing; 3], holder: Option<Holder>) -> Members {
    let all = standings.into_iter().enumerate();
    let all = all.map(|(index, standing)| {
        let member = Member {
            name: format!("gw{}", index + 1),
            address: IpAddr::from([10, 0, 0, 11 + index as u8]),
        };
        (member, standing)
    });
    Members {
        name: "west".to_owned(),
        members: all.collect(),
        me: 0,
        holders: holder.map(|it| vec![it]),
        orders: vec![vec![2, 0, 1]],
        moves: Moves::default(),
    }
}

fn placed(flow: Option<Flow>) -> Placed {
    Placed {
        bucket: 0,
        because: String::new(),
        flow,
    }
}

fn flow() -> Flow {
    let end = |last: u8| Endpoint {
        address: Ipv4Addr::new(10, 0, 0, last).into(),
        port: 40_000,
    };
    Flow {
        protocol: api::http::Protocol::Tcp,
        state: FlowState::Established,
        client: end(1),
        external: end(2),
        remote: end(3),
        target: None,
        pool: None,
        rule: None,
        age_seconds: 1,
        idle_seconds: 1,
        expires_in_seconds: 1,
        packets_out: 1,
        bytes_out: 1,
        packets_in: 1,
        bytes_in: 1,
        interface_out: None,
        interface_in: None,
    }
}

fn whys(owner: &Owner) -> Vec<(&str, &str)> {
    let all = owner.members.iter();
    all.map(|it| (it.name.as_str(), it.why.as_str())).collect()
}

#[test]
fn the_first_in_the_order_that_is_up_owns_it_and_those_before_say_why_not() {
    let holder = Holder {
        owner: 0,
        before: NOBODY,
    };
    let down = members([Standing::Up, Standing::Up, Standing::Down], Some(holder));

    let owner = owner(placed(None), &down);

    assert_eq!(owner.owner.as_deref(), Some("gw1"));
    assert_eq!(owner.here, "absent");
    let wanted = [
        ("gw3", "comes before the owner, and is down"),
        ("gw1", "owns it: the first in the order that is up"),
        ("gw2", "owns it when those before it do not"),
    ];
    assert_eq!(whys(&owner), wanted);
}

#[test]
fn who_held_it_before_is_named_while_both_serve() {
    let holder = Holder {
        owner: 2,
        before: 1,
    };
    let both = members([Standing::Up, Standing::Up, Standing::Up], Some(holder));

    let owner = owner(placed(Some(flow())), &both);

    let named = (owner.owner.as_deref(), owner.before.as_deref());
    assert_eq!(named, (Some("gw3"), Some("gw2")));
    assert_eq!(owner.here, "copy");
    assert!(whys(&owner)[2].1.starts_with("held it before"));
}

#[test]
fn nobody_is_named_before_it_is_known() {
    let unknown = members([Standing::Up, Standing::Unknown, Standing::Unknown], None);

    let owner = owner(placed(None), &unknown);

    assert_eq!((owner.owner, owner.before), (None, None));
}

#[test]
fn an_external_port_or_a_tuple_is_understood_and_nothing_else() {
    assert!(matches!(parse("192.0.2.10:40017"), Ok(Asked::External(port)) if port.get() == 40_017));
    assert!(matches!(
        parse("tcp 10.0.0.1:4242 198.51.100.9:443"),
        Ok(Asked::Flow(_))
    ));
    assert!(parse("192.0.2.10").is_err_and(|it| it.help.contains("external address and port")));
    assert!(parse("tcp 10.0.0.1:4242").is_err());
}
