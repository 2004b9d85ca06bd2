//! Single values: durations, ports, addresses, names.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::intent::{PortRange, Protocol, Service};

fn seconds(word: &str) -> Option<u64> {
    duration(word).ok().map(|duration| duration.as_secs())
}

#[test]
fn a_duration_is_the_sum_of_its_parts() {
    assert_eq!(seconds("90s"), Some(90));
    assert_eq!(seconds("2h4m"), Some(7440));
    assert_eq!(seconds("1d1h1m1s"), Some(90_061));
    assert_eq!(seconds("100000m"), Some(6_000_000));
}

#[test]
fn a_duration_needs_numbers_and_units_and_fits() {
    for word in [
        "",
        "h",
        "5",
        "5x",
        "m5",
        "1.5h",
        "-5m",
        "5ms",
        "٣m",
        "99999999999999999999s",
    ] {
        assert_eq!(seconds(word), None, "{word}");
    }
    assert_eq!(seconds("18446744073709551615d"), None);
}

#[test]
fn a_duration_in_other_words_is_translated() {
    let help = |word| duration(word).unwrap_err().help;

    assert_eq!(help("5 min"), "write `5m`");
    assert_eq!(help("1 hour 30 minutes"), "write `1h30m`");
    assert_eq!(help("5M"), "write `5m`");
    assert_eq!(
        help("300"),
        "say the unit: `300s` is seconds, `300m` minutes"
    );
}

proptest! {
    #[test]
    fn a_duration_survives_being_spelled_and_read(seconds in 0_u64..=u64::from(u32::MAX)) {
        let expected = Duration::from_secs(seconds);

        prop_assert_eq!(duration(&spelled(expected)), Ok(expected));
    }
}

#[test]
fn a_single_port_is_a_range_of_one() {
    assert_eq!(
        port_range("443"),
        Ok(PortRange {
            first: 443,
            last: 443
        })
    );
    assert_eq!(
        port_range("1-65535"),
        Ok(PortRange {
            first: 1,
            last: 65535
        })
    );
}

#[test]
fn a_port_is_a_number_from_1_to_65535() {
    for word in [
        "",
        "-",
        "0",
        "65536",
        "-1",
        "1-",
        "+1x",
        "99999999999999999999",
        "0x50",
        "1-2-3",
    ] {
        assert!(port_range(word).is_err(), "{word}");
    }
}

#[test]
fn a_service_is_a_protocol_and_perhaps_ports() {
    assert_eq!(service("tcp"), Ok(Service::Protocol(Protocol::Tcp)));
    assert_eq!(service("udp/53"), Ok(Service::Ports(Protocol::Udp, 53, 53)));
    assert_eq!(
        service("tcp/8000-8999"),
        Ok(Service::Ports(Protocol::Tcp, 8000, 8999))
    );
    assert_eq!(service("icmp"), Ok(Service::Protocol(Protocol::Icmp)));
}

#[test]
fn what_is_suggested_for_a_service_is_a_service() {
    let words = [
        "UDP", "53/udp", "tcp 80", "tcp-80", "ssh", "80-90", "8/icmp", "a:b", "b/a/c", "/",
    ];
    for word in words {
        let help = service(word).unwrap_err().help;
        let quoted = help
            .strip_prefix("write `")
            .and_then(|rest| rest.strip_suffix('`'));
        if let Some(suggested) = quoted {
            assert!(service(suggested).is_ok(), "{word} → {suggested}");
        }
    }
}

#[test]
fn an_address_is_a_prefix_of_one() {
    assert_eq!(prefix("10.0.0.1"), prefix("10.0.0.1/32"));
    assert!(prefix("0.0.0.0/0").is_ok());
}

#[test]
fn an_ipv6_address_is_read_in_every_spelling_of_it() {
    assert_eq!(prefix("2001:DB8:0::1"), prefix("2001:db8::1/128"));
    assert_eq!(prefix("64:ff9b::192.0.2.1"), prefix("64:ff9b::c000:201"));
    assert!(prefix("::/0").is_ok());
    assert_eq!(
        prefix("::ffff:10.0.0.0/104").unwrap_err().help,
        "write `10.0.0.0/8`"
    );
    assert!(prefix64("2001:db8:122:344::/96").is_ok());
    assert!(prefix64("2001:db8::/33").is_err());
}

#[test]
fn a_prefix_is_written_as_everybody_writes_it() {
    let bad = [
        "",
        "/",
        "10",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "10.0.0.0/8/8",
        "010.0.0.1",
        " 10.0.0.1",
    ];
    for word in bad {
        assert!(prefix(word).is_err(), "{word}");
    }
}

#[test]
fn a_name_is_suggested_that_can_be_one() {
    for word in ["Team A", "team_a", "--team a--", "TEAM.A", "é team a é"] {
        let help = name("pool", word).unwrap_err().help;
        assert!(help.ends_with(": `team-a`"), "{word}: {help}");
    }
    assert!(name("pool", &"a".repeat(63)).is_ok());
    assert!(name("pool", &"a".repeat(64)).is_err());
    assert!(name("pool", "").is_err());
}

#[test]
fn an_interface_has_the_names_that_the_kernel_allows() {
    for word in [
        "eth0",
        "enp3s0f1np1",
        "eth0.100",
        "br-5f2a",
        "fifteen-letters",
    ] {
        assert!(interface_name(word).is_ok(), "{word}");
    }
    for word in [
        "",
        ".",
        "..",
        "a/b",
        "a:b",
        "a b",
        "a\tb",
        "sixteen-letters-",
    ] {
        assert!(interface_name(word).is_err(), "{word}");
    }
}

#[test]
fn a_long_value_is_cut_where_a_message_repeats_it() {
    let message = prefix(&"é".repeat(10_000)).unwrap_err().message;

    assert!(message.len() < 200);
}
