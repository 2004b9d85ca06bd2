//! Requests that are wrong, and clients that are many, slow or gone.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use api::http::{ApiError, Status, path};

use crate::rig::{Gateway, Request, gateway::SILENCE_MAX};

/// Every refusal says why and what to do, in a body of its own type.
#[track_caller]
fn check(gateway: &Gateway, request: &Request, status: u16, why: &str) {
    let answer = gateway.ask(request);

    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    let error: ApiError = answer.json();
    assert!(error.error.contains(why), "{error}");
    assert!(!error.help.is_empty(), "{error}");
}

#[test]
fn a_wrong_request_is_told_why_and_what_to_do() {
    let gateway = Gateway::start();
    let check = |request, status, why| check(&gateway, &request, status, why);

    check(Request::get("/v1/flws"), 404, "/v1/flws");
    check(Request::get("/"), 404, "nothing is served");
    check(
        Request::new("DELETE", path::STATUS, Vec::new()),
        405,
        "DELETE",
    );
    check(
        Request::get("/v1/flows?clients=10.1.2.3"),
        400,
        "unknown field `clients`",
    );
    check(
        Request::get("/v1/flows?client=pod-a"),
        400,
        "client=pod-a is not an endpoint",
    );
    check(
        Request::get("/v1/flows?state=open"),
        400,
        "unknown variant `open`",
    );
    check(Request::get("/v1/flows?limit=-1"), 400, "invalid digit");
    check(Request::get("/v1/flow"), 400, "missing field `tuple`");
    check(
        Request::query(path::FLOW, &[("tuple", "tcp 1 2")]),
        400,
        "1 is not an endpoint",
    );
    check(
        Request::post(path::CONFIG, "not json"),
        400,
        "cannot understand the body",
    );
    check(
        Request::post(path::CONFIG, r#"{"file":"f"}"#),
        400,
        "missing field `text`",
    );
    check(
        Request::post(path::CONFIG, vec![b'"'; 3 << 20]),
        413,
        "2097152 bytes",
    );
}

#[test]
fn what_may_be_asked_instead_is_said_where_http_says_it() {
    let gateway = Gateway::start();

    let answer = gateway.ask(&Request::new("DELETE", path::CONFIG, Vec::new()));

    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
}

#[test]
fn one_connection_serves_many_requests() {
    let gateway = Gateway::start();
    let mut stream = gateway.connect();

    for _ in 0..3 {
        let head = ask_for_health(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    }
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let gateway = Gateway::start();
    let mut open: Vec<_> = (0..64).map(|_| gateway.connect()).collect();
    for stream in &mut open {
        ask_for_health(stream);
    }
    let mut next = gateway.connect();
    write!(next, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path::HEALTHY).unwrap();

    next.set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(
        next.read(&mut [0; 1]).is_err(),
        "it was served although there was no room"
    );
    open.pop();

    next.set_read_timeout(Some(SILENCE_MAX)).unwrap();
    assert!(head(&mut next).starts_with("HTTP/1.1 200"));
}

#[test]
fn the_daemon_outlives_what_is_no_http() {
    let gateway = Gateway::start();
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut stream = gateway.connect();
        stream.write_all(nonsense).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }

    assert!(gateway.get::<Status>(path::STATUS).pid > 0);
}

/// Asks on a connection that stays; returns the answer's head.
fn ask_for_health(stream: &mut UnixStream) -> String {
    write!(stream, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path::HEALTHY).unwrap();
    let head = head(stream);
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    head
}

fn head(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}
