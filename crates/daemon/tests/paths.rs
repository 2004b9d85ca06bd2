//! Every documented path is served, with bodies of the documented types.

use api::{
    Problems,
    http::{
        ApiError, Applied, Bfd, Bgp, Cluster, Counters, Drain, Drops, Flow, Flows, Mapping,
        Mappings, Owner, Pools, Status, Who, path,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::rig::{
    Answer, CONFIG, Gateway, Request,
    entries::{self, Entry},
    schema,
};

/// Holds an answer against what the document says of it.
#[track_caller]
fn check(document: &Value, operation: &Value, what: &str, answer: &Answer) {
    let responses = &operation["responses"];
    let own = &responses[answer.status.to_string()];
    let response = if own.is_null() {
        &responses["default"]
    } else {
        own
    };
    let Some((kind, content)) = response["content"]
        .as_object()
        .and_then(|it| it.iter().next())
    else {
        panic!(
            "{what}: status {} is not documented: {}",
            answer.status,
            answer.text()
        );
    };
    let is_of_kind = answer.header("content-type").starts_with(kind.as_str());
    assert!(
        is_of_kind,
        "{what}: {} instead of {kind}",
        answer.header("content-type")
    );
    let value = match kind.as_str() {
        "application/json" => answer.json(),
        _ => Value::String(answer.text().to_owned()),
    };
    let held = schema::check(document, &content["schema"], &value, what);
    held.unwrap_or_else(|why| panic!("{why}"));
    if let Some(name) = content["schema"]["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap_or_default();
        assert!(is_understood(name, &value), "{what} is not read as {name}");
    }
}

/// Whether the type of that name takes all of a body in.
fn is_understood(name: &str, body: &Value) -> bool {
    fn taken<T: DeserializeOwned + Serialize>(body: &Value) -> bool {
        let taken = serde_json::from_value::<T>(body.clone());
        taken.is_ok_and(|taken| serde_json::to_value(taken).is_ok_and(|again| again == *body))
    }
    match name {
        "Status" => taken::<Status>(body),
        "Flows" => taken::<Flows>(body),
        "Flow" => taken::<Flow>(body),
        "Who" => taken::<Who>(body),
        "Pools" => taken::<Pools>(body),
        "Mappings" => taken::<Mappings>(body),
        "Mapping" => taken::<Mapping>(body),
        "Bgp" => taken::<Bgp>(body),
        "Bfd" => taken::<Bfd>(body),
        "Cluster" => taken::<Cluster>(body),
        "Owner" => taken::<Owner>(body),
        "Drain" => taken::<Drain>(body),
        "Drops" => taken::<Drops>(body),
        "Counters" => taken::<Counters>(body),
        "Applied" => taken::<Applied>(body),
        "ApiError" => taken::<ApiError>(body),
        "Problems" => taken::<Problems>(body),
        _ => false,
    }
}

/// What a parameter of the document is to be.
fn example(parameter: &Value) -> Option<(&str, &str)> {
    let name = parameter["name"].as_str()?;
    Some((name, parameter["example"].as_str()?))
}

#[test]
fn every_documented_path_is_served_with_the_documented_body() {
    let gateway = Gateway::start();
    // The one that the document has as its example.
    let flow = Entry::tcp("10.0.0.1:4242", "192.0.2.10:4242", "198.51.100.9:5432");
    entries::write(&gateway.tables, &[flow]);
    let document: Value = gateway.get(path::OPENAPI);

    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let operation = &operations["get"];
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let query: Vec<_> = parameters.filter_map(example).collect();
        let answer = gateway.ask(&Request::query(path, &query));

        // No interface is there, so no packet can be sent here.
        let expected = if path == path::READY { 503 } else { 200 };
        assert_eq!(answer.status, expected, "GET {path}: {}", answer.text());
        check(&document, operation, &format!("GET {path}"), &answer);
        asked += 1;
    }
    assert_eq!(asked, 18);
}

#[test]
fn every_answer_to_a_configuration_is_documented() {
    let gateway = Gateway::start();
    let document: Value = gateway.get(path::OPENAPI);
    let operation = &document["paths"][path::CONFIG]["post"];
    let elsewhere = CONFIG.to_owned() + "state: /sys/fs/bpf/egret-elsewhere\n";

    for (status, answer) in [
        (200, gateway.apply(CONFIG, |request| request.dry_run = true)),
        (422, gateway.apply("rules: 7\n", |_| ())),
        (400, gateway.ask(&Request::post(path::CONFIG, "{"))),
        (
            409,
            gateway.apply(CONFIG, |request| request.text = elsewhere),
        ),
        (
            413,
            gateway.ask(&Request::post(path::CONFIG, vec![b' '; 3 << 20])),
        ),
    ] {
        assert_eq!(answer.status, status, "{}", answer.text());
        check(&document, operation, &format!("status {status}"), &answer);
    }
}

#[test]
fn every_answer_about_a_mapping_is_documented() {
    let gateway = Gateway::start();
    let document: Value = gateway.get(path::OPENAPI);
    let ask = |internal: &str, more: &str| {
        let body = format!(r#"{{"protocol": "tcp", "internal": "{internal}"{more}}}"#);
        ("post", Request::post(path::MAPPINGS, body))
    };
    let withdraw = |query: &str| {
        let target = format!("{}?protocol=tcp&internal={query}", path::MAPPINGS);
        ("delete", Request::new("DELETE", &target, Vec::new()))
    };
    let owned = r#", "external": ":8443", "lifetime_seconds": 60, "owner": "a""#;

    for (status, (method, request)) in [
        (200, ask("10.1.0.7:443", owned)),
        (200, ("get", Request::get(path::MAPPINGS))),
        (403, ask("10.1.0.7:443", "")),
        (403, withdraw("10.1.0.7:443")),
        (200, withdraw("10.1.0.7:443&owner=a")),
        (404, withdraw("10.1.0.7:443")),
        (400, ask("10.1.0.7", "")),
        (400, withdraw("10.1.0.7")),
        (409, ask("10.9.0.7:443", "")),
    ] {
        let answer = gateway.ask(&request);
        assert_eq!(answer.status, status, "{}", answer.text());
        let operation = &document["paths"][path::MAPPINGS][method];
        let what = format!("{method}, status {status}");
        check(&document, operation, &what, &answer);
    }
}

#[test]
fn the_document_is_served_as_it_is_committed() {
    let gateway = Gateway::start();

    let served = gateway.ask(&Request::get(path::OPENAPI));

    assert_eq!(served.text(), daemon::http::document());
}
