//! How numbers are said, and that no text harms a terminal.

use proptest::prelude::*;

use super::*;

#[test]
fn a_duration_has_its_two_largest_units() {
    for (seconds, shown) in [
        (0, "0s"),
        (9, "9s"),
        (60, "1m"),
        (125, "2m5s"),
        (7200, "2h"),
        (7201, "2h"),
        (7440, "2h4m"),
        (86_399, "23h59m"),
        (86_400, "1d"),
        (273_600, "3d4h"),
    ] {
        assert_eq!(duration(seconds), shown);
    }
}

#[test]
fn a_span_has_the_unit_that_fits() {
    for (seconds, shown) in [
        (0.0, "0 us"),
        (0.000_4, "400 us"),
        (0.001_23, "1.2 ms"),
        (0.012, "12 ms"),
        (0.999_9, "1.0 s"),
        (12.34, "12.3 s"),
    ] {
        assert_eq!(span(seconds), shown);
    }
}

#[test]
fn bytes_change_the_unit_before_they_need_four_digits() {
    for (count, shown) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_048_575, "1.0 MiB"),
        (1_288_490_189, "1.2 GiB"),
        (u64::MAX, "16.0 EiB"),
    ] {
        assert_eq!(bytes(count), shown);
    }
}

#[test]
fn a_rate_has_three_digits() {
    for (value, shown) in [
        (0.0, "0"),
        (0.5, "0.5"),
        (9.96, "10"),
        (830.4, "830"),
        (999.7, "1.00 k"),
        (1_250_000.0, "1.25 M"),
        (12_500_000.0, "12.5 M"),
        (999_700_000.0, "1.00 G"),
        (100e9, "100 G"),
    ] {
        assert_eq!(rate(value), shown);
    }
}

#[test]
fn little_is_not_nothing_and_much_is_not_all() {
    for (part, whole, shown) in [
        (0, 100, "0 %"),
        (0, 0, "0 %"),
        (1, 1_000_000, "<0.1 %"),
        (3, 100, "3.0 %"),
        (97, 100, "97 %"),
        (999_999, 1_000_000, "99.9 %"),
        (100, 100, "100 %"),
    ] {
        assert_eq!(percent(part, whole), shown);
    }
}

#[test]
fn one_thing_is_singular() {
    assert_eq!(counted(1u32, "address"), "1 address");
    assert_eq!(counted(2u32, "address"), "2 addresses");
    assert_eq!(counted(0u32, "rule"), "0 rules");
}

#[test]
fn an_escape_sequence_does_not_reach_the_terminal() {
    let shown = printable("a\u{1b}[2J\nb\u{202e}");

    assert_eq!(shown, "a\u{fffd}[2J b\u{fffd}");
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let shown = excerpt(&"ä".repeat(1000));

    assert_eq!(shown.chars().count(), EXCERPT_MAX + 3);
}

proptest! {
    #[test]
    fn any_number_can_be_said(count: u64, whole: u64, value: f64, text: String) {
        duration(count);
        bytes(count);
        percent(count, whole);
        counted(count, "flow");
        span(value);
        rate(value);
        prop_assert!(!printable(&text).chars().any(char::is_control));
        prop_assert!(excerpt(&text).len() <= 4 * EXCERPT_MAX + 3);
    }
}
