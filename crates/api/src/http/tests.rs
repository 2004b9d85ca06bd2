//! How bodies read in JSON, and that what is written is read back.

use super::*;

fn flow() -> Flow {
    let endpoint = |address: [u8; 4], port| Endpoint {
        address: address.into(),
        port,
    };
    Flow {
        protocol: Protocol::Tcp,
        state: FlowState::Established,
        client: endpoint([10, 1, 0, 7], 40000),
        external: endpoint([192, 0, 2, 10], 40000),
        remote: endpoint([198, 51, 100, 9], 5432),
        target: None,
        pool: Some("team-a".to_owned()),
        rule: Some("web".to_owned()),
        age_seconds: 9,
        idle_seconds: 1,
        expires_in_seconds: 7439,
        packets_out: 4,
        bytes_out: 400,
        packets_in: 3,
        bytes_in: 300,
        interface_out: Some("eth1".to_owned()),
        interface_in: None,
    }
}

#[test]
fn a_flow_reads_in_json_as_it_does_in_a_table() {
    let json = serde_json::to_value(flow()).unwrap();

    assert_eq!(json["protocol"], "tcp");
    assert_eq!(json["state"], "established");
    assert_eq!(json["client"]["address"], "10.1.0.7");
    assert_eq!(json["client"]["port"], 40000);
    assert_eq!(json["interface_in"], serde_json::Value::Null);
    assert_eq!(serde_json::from_value::<Flow>(json).unwrap(), flow());
}

#[test]
fn an_older_command_can_read_a_newer_daemons_body() {
    let mut json = serde_json::to_value(flow()).unwrap();
    json["lease"] = "added later".into();

    assert_eq!(serde_json::from_value::<Flow>(json).unwrap(), flow());
}

#[test]
fn a_misspelt_filter_is_refused_instead_of_listing_everything() {
    let refused = serde_json::from_str::<FlowsQuery>(r#"{ "clients": "10.1.0.7" }"#);

    assert!(refused.unwrap_err().to_string().contains("clients"));
}

#[test]
fn labels_are_the_words_of_the_json() {
    for protocol in Protocol::ALL {
        assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.label());
    }
    for state in FlowState::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), state.label());
    }
    for verdict in [Verdict::Send, Verdict::Pass, Verdict::Drop] {
        assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.label());
    }
}

#[test]
fn an_apply_request_is_neither_a_dry_run_nor_saved_unless_it_says_so() {
    let request: ApplyRequest =
        serde_json::from_str(r#"{ "file": "gateway.yaml", "text": "interfaces: []" }"#).unwrap();

    assert!(!request.dry_run);
    assert!(!request.save);
}

#[test]
fn every_protocol_has_its_own_value() {
    let mut ports = ByProtocol::default();
    for (number, protocol) in Protocol::ALL.into_iter().enumerate() {
        *ports.of_mut(protocol) = number;
    }

    assert_eq!(
        ports,
        ByProtocol {
            tcp: 0,
            udp: 1,
            icmp: 2,
            sctp: 3,
            gre: 4,
            esp: 5,
        }
    );
    assert_eq!(*ports.of(Protocol::Icmp), 2);
}

#[cfg(feature = "openapi")]
#[test]
fn every_body_has_a_schema_of_its_own_name() {
    use utoipa::OpenApi;

    #[derive(OpenApi)]
    #[openapi(components(schemas(
        Status,
        Flows,
        Pools,
        Drops,
        Counters,
        ApplyRequest,
        Applied,
        ApiError,
        crate::Problems
    )))]
    struct Document;

    let schemas = Document::openapi().components.unwrap().schemas;

    for name in [
        "Status", "Flows", "Flow", "Endpoint", "Pools", "Pool", "Exit", "Problem",
    ] {
        assert!(schemas.contains_key(name), "no schema is named {name}");
    }
    let json = serde_json::to_value(&schemas).unwrap();
    assert_eq!(json["Endpoint"]["properties"]["address"]["type"], "string");
    assert!(json["Sweep"]["description"].is_string());
}
