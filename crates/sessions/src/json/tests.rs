//! Lines as they are written, and that every record is read back.

use proptest::prelude::*;

use super::*;
use crate::samples::{any_record, closed, opened};

fn line(record: &Record) -> String {
    let mut text = Vec::new();
    write(record, &mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn a_flow_that_began_is_one_line() {
    assert_eq!(
        line(&opened()),
        "{\"time\":\"2026-11-03T14:05:00.123456Z\",\"event\":\"opened\",\"protocol\":\"tcp\",\
         \"client\":\"10.1.0.7:40000\",\"external\":\"192.0.2.10:40000\",\
         \"remote\":\"198.51.100.9:443\",\"pool\":\"team-a\"}\n"
    );
}

#[test]
fn a_flow_that_ended_says_how_it_was() {
    assert_eq!(
        line(&closed()),
        "{\"time\":\"2026-11-03T14:09:07.500000Z\",\"event\":\"closed\",\"protocol\":\"tcp\",\
         \"client\":\"10.1.0.7:40000\",\"external\":\"192.0.2.10:40000\",\
         \"remote\":\"198.51.100.9:443\",\"pool\":\"team-a\",\
         \"opened\":\"2026-11-03T14:05:00.000000Z\",\"last_packet\":\"2026-11-03T14:05:03.000000Z\",\
         \"packets_out\":7,\"bytes_out\":812,\"packets_in\":5,\"bytes_in\":4096,\
         \"reason\":\"finished\"}\n"
    );
}

#[test]
fn what_a_later_version_adds_is_ignored() {
    let text = line(&opened()).replace("{\"time\"", "{\"mood\":\"good\",\"time\"");

    assert_eq!(read(text.as_bytes()).unwrap(), Said::Flow(opened()));
}

#[test]
fn an_end_without_its_facts_is_no_record() {
    let text = line(&opened()).replace("opened", "closed");

    let error = read(text.as_bytes()).unwrap_err();

    assert_eq!(
        error.to_string(),
        "a record lacks fields, or has them wrong"
    );
}

proptest! {
    #[test]
    fn what_was_written_is_read(record in any_record()) {
        prop_assert_eq!(read(line(&record).as_bytes()).unwrap(), Said::Flow(record));
    }

    #[test]
    fn a_line_ends_with_its_only_newline_and_is_short(record in any_record()) {
        let text = line(&record);
        prop_assert_eq!(text.find('\n'), Some(text.len() - 1));
        prop_assert!(text.len() < LINE_BYTES_MAX / 4);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }
}
