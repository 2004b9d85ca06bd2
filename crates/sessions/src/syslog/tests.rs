//! Messages as they are sent.

use super::*;
use crate::samples::{closed, opened};

#[test]
fn a_beginning_is_one_message() {
    assert_eq!(
        Syslog::new("gw1", 4242).message(&opened()),
        "<134>1 2026-11-03T14:05:00.123456Z gw1 egretd 4242 opened [session@32473 \
         event=\"opened\" protocol=\"tcp\" client=\"10.1.0.7:40000\" external=\"192.0.2.10:40000\" \
         remote=\"198.51.100.9:443\" pool=\"team-a\"] \
         tcp opened 10.1.0.7:40000 as 192.0.2.10:40000 to 198.51.100.9:443"
    );
}

#[test]
fn an_end_says_why_and_how_much() {
    let message = Syslog::new("gw1", 1).message(&closed());

    assert!(
        message.contains(
            "opened=\"2026-11-03T14:05:00.000000Z\" last_packet=\"2026-11-03T14:05:03.000000Z\" \
             packets_out=\"7\" bytes_out=\"812\" packets_in=\"5\" bytes_in=\"4096\" \
             reason=\"finished\"]"
        ),
        "{message}"
    );
}

#[test]
fn what_would_end_a_value_is_escaped() {
    let mut record = opened();
    record.flow.pool = Some("a\"b]c\\d".into());

    let message = Syslog::new("gw1", 1).message(&record);

    assert!(message.contains(r#"pool="a\"b\]c\\d"]"#), "{message}");
}

#[test]
fn a_host_without_a_usable_name_is_none() {
    let message = Syslog::new(" \n", 1).message(&opened());

    assert!(message.contains("Z - egretd 1 "), "{message}");
}

#[test]
fn in_a_stream_a_message_stands_behind_its_length() {
    let mut stream = Vec::new();

    framed("<134>1 x", &mut stream);
    framed("<134>1 yz", &mut stream);

    assert_eq!(stream, b"8 <134>1 x9 <134>1 yz");
}
