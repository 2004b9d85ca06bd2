//! Prefixes and the addresses in them.

use super::*;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

#[test]
fn a_prefix_is_shown_without_its_host_bits() {
    assert_eq!(prefix("10.1.0.77/24").to_string(), "10.1.0.0/24");
}

#[test]
fn a_prefix_that_was_stored_keeps_its_host_bits() {
    let stored = String::from(prefix("10.1.0.77/24"));

    assert_eq!(prefix(&stored).address(), Ipv4Addr::new(10, 1, 0, 77));
}

#[test]
fn a_bare_address_is_a_prefix_of_itself() {
    assert_eq!(prefix("192.0.2.10").to_string(), "192.0.2.10/32");
}

#[test]
fn hosts_are_counted_from_the_network_and_never_leave_it() {
    assert_eq!(
        prefix("10.1.0.0/24").host(11),
        Some(Ipv4Addr::new(10, 1, 0, 11))
    );
    assert_eq!(prefix("10.1.0.0/24").host(256), None);
    assert_eq!(
        prefix("0.0.0.0/0").host(u32::MAX),
        Some(Ipv4Addr::BROADCAST)
    );
}

#[test]
fn nonsense_is_refused_with_the_text_that_was_given() {
    for text in ["", "10.1.0.0/33", "10.1.0/24", "10.1.0.0/-1", "ten"] {
        let error = text.parse::<Prefix>().unwrap_err();

        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
}
