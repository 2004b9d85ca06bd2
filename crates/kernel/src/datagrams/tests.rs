//! Datagrams to this host, seen from both ends.

use super::*;

/// A datagram to this host, seen from both ends.
fn sent_to(loopback: IpAddr) -> (Arrival, SocketAddr) {
    let listening = listen(0, loopback.is_ipv6()).unwrap();
    let port = listening.local_addr().unwrap().port();
    let way = Way {
        peer: SocketAddr::new(loopback, port),
        source: Some(loopback),
        interface: None,
    };
    let sending = towards(&way, 50_000).unwrap();
    let before = Instant::now();
    sending.send(b"hello").unwrap();

    let mut buffer = [0; 64];
    let clocks = (Instant::now(), SystemTime::now());
    let arrival = receive(&listening, &mut buffer, clocks).unwrap().unwrap();

    assert_eq!(&buffer[..arrival.length], b"hello");
    assert!(
        before <= arrival.at && arrival.at <= clocks.0,
        "{arrival:?}"
    );
    assert!(receive(&listening, &mut buffer, clocks).unwrap().is_none());
    (arrival, sending.local_addr().unwrap())
}

#[test]
fn a_datagram_comes_with_its_way_and_its_time() {
    for loopback in ["127.0.0.1", "::1"] {
        let loopback: IpAddr = loopback.parse().unwrap();
        let (arrival, source) = sent_to(loopback);

        assert_eq!((arrival.from, arrival.to), (loopback, loopback));
        assert_eq!((arrival.ttl, arrival.interface), (255, 1));
        assert!(SOURCES.contains(&source.port()));
    }
}

#[test]
fn a_source_port_that_is_taken_is_not_waited_for() {
    let way = Way {
        peer: "127.0.0.1:3784".parse().unwrap(),
        source: None,
        interface: None,
    };
    let first = towards(&way, 65_535).unwrap();
    let second = towards(&way, 65_535).unwrap();

    assert_eq!(first.local_addr().unwrap().port(), 65_535);
    assert_eq!(second.local_addr().unwrap().port(), 49_152);
}

#[test]
fn a_wall_clock_that_was_set_moves_no_datagram() {
    let (now, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_000_000));
    let time = |seconds: i64| libc::timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };

    assert_eq!(
        before(now, wall, time(999_999)),
        now - Duration::from_secs(1)
    );
    assert_eq!(before(now, wall, time(1_000_005)), now);
    assert_eq!(before(now, wall, time(1_000)), now);
}
