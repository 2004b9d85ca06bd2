//! How questions travel, and how answers come back.

use std::os::unix::net::UnixListener;

use api::{
    Problem, Problems, Severity,
    http::{
        ApiError, Applied, Counters, Drops, Endpoint, Exit, Flow, FlowState, Flows, Pools,
        Protocol, Verdict,
    },
    problem::Excerpt,
};

use crate::{
    Directory,
    fake::{Fake, answer, chunked, json},
    run, word,
};

pub fn flow(number: u16) -> Flow {
    let endpoint = |address: [u8; 4], port| Endpoint {
        address: address.into(),
        port,
    };
    Flow {
        protocol: Protocol::Tcp,
        state: FlowState::Established,
        client: endpoint([10, 1, 0, 7], number),
        external: endpoint([192, 0, 2, 10], number),
        remote: endpoint([198, 51, 100, 9], 5432),
        target: None,
        pool: Some("team-a".to_owned()),
        rule: Some("databases".to_owned()),
        age_seconds: 9,
        idle_seconds: 1,
        expires_in_seconds: 7439,
        packets_out: 4,
        bytes_out: 400,
        packets_in: 3,
        bytes_in: 300,
        interface_out: Some("eth1".to_owned()),
        interface_in: Some("eth0".to_owned()),
    }
}

pub fn flows(count: u16) -> Flows {
    Flows {
        flows: (0..count).map(flow).collect(),
        matched: count.into(),
        total: count.into(),
        truncated: false,
    }
}

fn problems() -> Problems {
    Problems {
        problems: vec![Problem {
            severity: Severity::Error,
            file: "gateway.yaml".to_owned(),
            line: 3,
            column: 11,
            excerpt: Excerpt::of("    pool: team-b", 11, 6),
            field: "rules[0].pool".to_owned(),
            message: "no pool is named `team-b`".to_owned(),
            help: "did you mean `team-a`?".to_owned(),
        }],
        omitted: 0,
    }
}

#[test]
fn an_answer_in_chunks_is_put_together() {
    let body = serde_json::to_vec(&flows(100)).unwrap();

    for size in [1, 7, 4096, 1 << 20] {
        let said = Fake::always(chunked(&body, size)).run(&["flows"]);

        assert_eq!(said.exit, Some(0), "{}", said.stderr);
        assert_eq!(said.stdout.lines().count(), 101, "in chunks of {size}");
    }
}

#[test]
fn json_is_printed_as_it_came() {
    let body = br#"{ "pools" : [ ], "later": 18446744073709551615,   "more": 1.10 }"#;

    let said = Fake::always(chunked(body, 5)).run(&["pools", "--json"]);

    assert_eq!(said.exit, Some(0), "{}", said.stderr);
    assert_eq!(said.stdout.as_bytes(), [body, b"\n".as_slice()].concat());
}

#[test]
fn filters_reach_the_daemon() {
    let fake = Fake::always(json("200 OK", &flows(1)));

    fake.run(&[
        "flows",
        "--client",
        "10.1.0.0/16",
        "--pool",
        "a b",
        "--limit",
        "7",
    ]);
    fake.run(&["flows", "--json", "--state", "closing"]);
    fake.run(&["flows", "--count", "--json"]);
    fake.run(&["flow", "tcp", "10.1.0.7:1", "198.51.100.9:5432"]);
    fake.run(&["flow", "tcp 10.1.0.7:1 198.51.100.9:5432"]);

    let lines: Vec<String> = fake.heard().into_iter().map(|heard| heard.line).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/flows?client=10.1.0.0%2F16&pool=a+b&limit=7",
            "GET /v1/flows?state=closing",
            "GET /v1/flows?limit=0",
            "GET /v1/flow?tuple=tcp+10.1.0.7%3A1+198.51.100.9%3A5432",
            "GET /v1/flow?tuple=tcp+10.1.0.7%3A1+198.51.100.9%3A5432",
        ]
    );
}

#[test]
fn a_count_is_a_number_alone() {
    let counted = Flows {
        matched: 200_000,
        total: 200_001,
        truncated: true,
        ..Flows::default()
    };

    let said = Fake::always(json("200 OK", &counted)).run(&["flows", "--count"]);

    assert_eq!(said.stdout, "200000\n");
    assert_eq!(said.stderr, "");
}

#[test]
fn text_is_printed_as_it_came() {
    let text = b"# Of our own\nmetrics: {}\n";
    let fake = Fake::always(answer("200 OK", "text/yaml", text));

    for verb in ["config", "metrics"] {
        assert_eq!(fake.run(&[verb]).stdout.as_bytes(), text);
    }
}

#[test]
fn a_configuration_is_sent_as_it_stands_in_its_file() {
    let directory = Directory::new();
    let file = directory.file("gateway.yaml", "interfaces: [] # \u{e4}\n".as_bytes());
    let applied = Applied {
        changes: vec!["pool team-b: added".to_owned()],
        applied: true,
        ..Applied::default()
    };
    let fake = Fake::always(json("200 OK", &applied));

    let said = fake.run(&["apply", &file, "--save"]);

    assert_eq!(said.exit, Some(0), "{}", said.stderr);
    assert!(said.stdout.starts_with("- pool team-b: added\n"));
    let heard = fake.heard().remove(0);
    assert_eq!(heard.line, "POST /v1/config");
    let body: api::http::ApplyRequest = serde_json::from_str(&heard.body).unwrap();
    assert_eq!(body.text, "interfaces: [] # \u{e4}\n");
    assert_eq!(body.file, file);
    assert!(body.save && !body.dry_run);
}

#[test]
fn a_refused_configuration_is_shown_with_its_problems() {
    let directory = Directory::new();
    let file = directory.file("gateway.yaml", b"rules: []\n");
    let fake = Fake::always(json("422 Unprocessable Content", &problems()));

    let said = fake.run(&["apply", &file]);
    assert_eq!(said.exit, Some(1));
    assert_eq!(said.stdout, "");
    assert_eq!(said.stderr, format!("{}\n", problems()));

    let said = fake.run(&["apply", &file, "--json"]);
    assert_eq!(said.exit, Some(1));
    let answered: Problems = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(answered, problems());
}

#[test]
fn a_configuration_that_is_no_text_is_not_sent() {
    let directory = Directory::new();
    let file = directory.file("gateway.yaml", b"interfaces: \xff\n");
    let fake = Fake::always(json("200 OK", &Applied::default()));

    let said = fake.run(&["apply", &file]);

    assert_eq!(said.exit, Some(1));
    assert!(said.stderr.contains("UTF-8"), "{}", said.stderr);
    assert!(fake.heard().is_empty());
}

#[test]
fn a_refusal_is_shown_with_its_help() {
    let error = ApiError {
        error: "no flow has this tuple".to_owned(),
        help: "it may have ended: `egret flows` lists those there are".to_owned(),
    };
    let fake = Fake::always(json("404 Not Found", &error));

    for arguments in [&["flow", "tcp a b"][..], &["flow", "tcp a b", "--json"]] {
        let said = fake.run(arguments);

        assert_eq!(said.exit, Some(1));
        assert_eq!(said.stdout, "");
        assert_eq!(
            said.stderr,
            "error: no flow has this tuple\n\
             help: it may have ended: `egret flows` lists those there are\n"
        );
    }
}

#[test]
fn a_stranger_on_the_socket_is_quoted_without_its_escapes() {
    let page = b"<html>\x1b[2Jnot here</html>";
    let fake = Fake::always(answer("404 Not Found", "text/html", page));

    let said = fake.run(&["status"]);

    assert_eq!(said.exit, Some(1));
    assert!(said.stderr.contains("GET /v1/status was answered with 404"));
    assert!(said.stderr.contains("not here"));
    assert!(!said.stderr.contains('\u{1b}'));
}

#[test]
fn an_answer_of_another_version_is_not_guessed_at() {
    let said = Fake::always(json("200 OK", &"surprise")).run(&["status"]);

    assert_eq!(said.exit, Some(3));
    assert!(
        said.stderr
            .contains("cannot understand egretd's answer to GET /v1/status")
    );
    assert!(said.stderr.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_daemon_that_hangs_up_in_the_middle_is_not_taken_at_its_word() {
    let whole = json("200 OK", &flows(100));
    let in_chunks = chunked(&serde_json::to_vec(&flows(100)).unwrap(), 64);
    for bytes in [
        &whole[..whole.len() - 1],
        &in_chunks[..in_chunks.len() / 2],
        b"",
    ] {
        let said = Fake::always(bytes.to_vec()).run(&["flows"]);

        assert_eq!(said.exit, Some(3));
        assert_eq!(said.stdout, "");
        assert!(
            said.stderr
                .contains("egretd did not finish its answer to GET /v1/flows"),
            "{}",
            said.stderr
        );
    }
}

#[test]
fn json_that_breaks_off_ends_with_an_error() {
    let whole = json("200 OK", &flows(100));

    let said = Fake::always(whole[..whole.len() - 1].to_vec()).run(&["flows", "--json"]);

    assert_eq!(said.exit, Some(3));
    assert!(said.stderr.contains("did not finish"), "{}", said.stderr);
}

#[test]
fn a_change_that_broke_off_may_have_taken_effect() {
    let directory = Directory::new();
    let file = directory.file("gateway.yaml", b"rules: []\n");

    let said = Fake::always(Vec::new()).run(&["apply", &file]);

    assert_eq!(said.exit, Some(3));
    assert!(said.stderr.contains("whether it took effect is not known"));
}

#[test]
fn a_socket_that_is_not_there_says_what_to_do() {
    let directory = Directory::new();
    let socket = directory.path("egret.sock");

    let said = run(&["status", "--socket", word(&socket)]);

    assert_eq!(said.exit, Some(3));
    assert_eq!(said.stdout, "");
    assert!(said.stderr.contains(word(&socket)), "{}", said.stderr);
    assert!(said.stderr.contains("there is no such socket"));
    assert!(said.stderr.contains("systemctl status egretd"));
}

#[test]
fn a_socket_that_was_left_behind_is_told_from_one_that_is_not_there() {
    let directory = Directory::new();
    let socket = directory.path("egret.sock");
    drop(UnixListener::bind(&socket).unwrap());

    let said = run(&["status", "--socket", word(&socket)]);

    assert_eq!(said.exit, Some(3));
    assert!(
        said.stderr.contains("nobody listens on it"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_file_that_is_no_socket_is_called_so() {
    let directory = Directory::new();
    let file = directory.file("egret.sock", b"");

    let said = run(&["status", "--socket", &file]);

    assert_eq!(said.exit, Some(3));
    assert!(said.stderr.contains("it is no socket"), "{}", said.stderr);
}

#[test]
fn every_verb_prints_what_it_asked_for() {
    let exits = vec![Exit {
        reason: "no_route".to_owned(),
        verdict: Verdict::Drop,
        packets: 3,
        bytes: 180,
        explanation: "The kernel has no route.".to_owned(),
    }];
    let fake = Fake::answering(move |request| match request.line.as_str() {
        "GET /v1/pools" => json("200 OK", &Pools::default()),
        "GET /v1/drops" => json(
            "200 OK",
            &Drops {
                drops: exits.clone(),
            },
        ),
        "GET /v1/counters" => json(
            "200 OK",
            &Counters {
                counters: exits.clone(),
            },
        ),
        _ => json("200 OK", &flow(40_000)),
    });

    for (verb, expected) in [
        (&["pools"][..], "TCP-FREE"),
        (&["drops"], "no_route"),
        (&["counters"], "drop"),
        (&["flow", "tcp a b"], "10.1.0.7:40000"),
    ] {
        let said = fake.run(verb);

        assert_eq!(said.exit, Some(0), "{verb:?}: {}", said.stderr);
        assert!(said.stdout.contains(expected), "{verb:?}: {}", said.stdout);
    }
}
