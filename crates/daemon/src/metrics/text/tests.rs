//! Samples as they stand on the page.

use super::{
    super::{
        label::{Direction, Interface, Pool, Way},
        list::{ADOPTED, POOL_BYTES, SWEEP_DURATION},
    },
    *,
};

fn page(add: impl FnOnce(&mut Text)) -> String {
    let mut text = Text::default();
    add(&mut text);
    text.finish()
}

#[test]
fn a_metric_says_what_it_is_once_and_then_its_samples() {
    let sample = |way, bytes: u64| ((Pool("team-a".to_owned()), Way(way)), bytes.into());

    let page = page(|text| {
        text.add(
            &POOL_BYTES,
            [
                sample(Direction::Out, 1500),
                sample(Direction::In, u64::MAX),
            ],
        );
    });

    assert_eq!(
        page,
        "# HELP egret_pool_bytes_total Bytes of whole frames translated and sent on, by pool.\n\
         # TYPE egret_pool_bytes_total counter\n\
         egret_pool_bytes_total{pool=\"team-a\",direction=\"out\"} 1500\n\
         egret_pool_bytes_total{pool=\"team-a\",direction=\"in\"} 18446744073709551615\n"
    );
}

#[test]
fn without_labels_there_are_no_braces_and_without_a_value_no_sample() {
    let page = page(|text| {
        text.add_one(&ADOPTED, true);
        text.add(&SWEEP_DURATION, None);
    });

    assert!(page.contains("\negret_adopted 1\n"), "{page}");
    assert!(!page.contains("\negret_sweep_duration_seconds"), "{page}");
}

#[test]
fn a_name_cannot_end_its_label_or_its_line() {
    let labels = (Interface("a\\b\"c\nd{e}".to_owned()),);

    assert_eq!(
        Braces(&labels).to_string(),
        r#"{interface="a\\b\"c\nd{e}"}"#
    );
}

#[test]
fn numbers_are_written_without_exponents() {
    for (number, written) in [
        (Number::from(0.0), "0"),
        (Number::from(0.000_012_5), "0.0000125"),
        (Number::from(1_795_311_680.5), "1795311680.5"),
        (Number::from(7_u32), "7"),
        (Number::from(false), "0"),
    ] {
        assert_eq!(number.to_string(), written);
    }
}
