//! Questions as people write them.

use super::*;

const NOW: Time = Time::from_secs(1_800_000_000);

fn asked(external: &str, change: impl FnOnce(&mut WhoQuery)) -> Result<Question, ApiError> {
    let mut query = WhoQuery {
        external: external.to_owned(),
        ..WhoQuery::default()
    };
    change(&mut query);
    parse(&query, NOW)
}

#[track_caller]
fn check(change: impl FnOnce(&mut WhoQuery), since: &str, until: &str) {
    let question = asked("192.0.2.10:40000/tcp", change).unwrap();

    assert_eq!(question.since.to_string(), since);
    assert_eq!(question.until.to_string(), until);
}

#[test]
fn without_a_time_it_is_now() {
    let now = "2027-01-15T08:00:00.000000Z";
    check(|_| {}, now, now);
}

#[test]
fn a_time_is_rfc_3339_or_how_long_ago_it_was() {
    let then = "2026-11-03T14:05:00.000000Z";
    check(
        |it| it.at = Some("2026-11-03T15:05:00+01:00".into()),
        then,
        then,
    );
    let ago = "2027-01-15T05:56:00.000000Z";
    check(|it| it.at = Some("-2h4m".into()), ago, ago);
}

#[test]
fn a_span_is_open_at_either_end() {
    let now = "2027-01-15T08:00:00.000000Z";
    let hour = "2027-01-15T07:00:00.000000Z";
    check(|it| it.since = Some("-1h".into()), hour, now);
    check(
        |it| it.until = Some("-1h".into()),
        "1970-01-01T00:00:00.000000Z",
        hour,
    );
}

#[test]
fn endpoints_are_of_any_protocol_and_family() {
    for (word, protocol) in [
        ("192.0.2.10:77/icmp", 1),
        ("192.0.2.10:40000/UDP", 17),
        ("[2001:db8::1]:40000/132", 132),
    ] {
        let key = asked(word, |_| {}).unwrap().key;
        assert_eq!(key.protocol.0, protocol);
    }
}

#[test]
fn what_cannot_be_understood_is_said_with_what_to_write() {
    for (external, at, why) in [
        ("192.0.2.10:40000", None, "no protocol"),
        ("192.0.2.10/tcp", None, "no address and port"),
        ("192.0.2.10:40000/smtp", None, "no such protocol"),
        (
            "192.0.2.10:40000/tcp",
            Some("yesterday"),
            "`yesterday` cannot",
        ),
        (
            "192.0.2.10:40000/tcp",
            Some("2026-11-03T14:05:00"),
            "cannot be understood",
        ),
        ("192.0.2.10:40000/tcp", Some("-soon"), "`-soon` cannot"),
    ] {
        let refused = asked(external, |query| query.at = at.map(str::to_owned)).unwrap_err();
        assert!(refused.error.contains(why), "{refused}");
    }
    let both = asked("192.0.2.10:40000/tcp", |query| {
        query.at = Some("now".into());
        query.since = Some("-1h".into());
    });
    assert!(both.unwrap_err().error.contains("one moment"));
    let backwards = asked("192.0.2.10:40000/tcp", |query| {
        query.since = Some("-1h".into());
        query.until = Some("-2h".into());
    });
    assert!(backwards.unwrap_err().error.contains("goes backwards"));
}
