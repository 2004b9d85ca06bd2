//! Mappings that are asked for over the API, and those that the configuration has.

use abi::{Admits, Ip4, MappingKey, Port, Protocol};
use api::http::{ApiError, Mapping, MappingRequest, Mappings, path};

use crate::rig::{
    CONFIG, Gateway, Request,
    entries::{self, Entry},
};

fn ask(internal: &str) -> MappingRequest {
    MappingRequest {
        protocol: api::http::Protocol::Tcp,
        internal: internal.to_owned(),
        external: None,
        prefer_failure: false,
        lifetime_seconds: None,
        owner: None,
    }
}

fn post(gateway: &Gateway, request: &MappingRequest) -> crate::rig::Answer {
    let body = serde_json::to_vec(request).unwrap();
    gateway.ask(&Request::post(path::MAPPINGS, body))
}

#[track_caller]
fn granted(gateway: &Gateway, request: &MappingRequest) -> Mapping {
    let answer = post(gateway, request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn withdraw(gateway: &Gateway, query: &str) -> crate::rig::Answer {
    let target = format!("{}?{query}", path::MAPPINGS);
    gateway.ask(&Request::new("DELETE", &target, Vec::new()))
}

fn listed(gateway: &Gateway) -> Vec<Mapping> {
    let mappings: Mappings = gateway.get(path::MAPPINGS);
    mappings.mappings
}

/// Whom the packet path admits to an external port.
fn admits(gateway: &Gateway, address: [u8; 4], port: u16) -> Option<Admits> {
    let key = MappingKey::inward(Protocol::Tcp, (Ip4(address), Port::new(port)));
    let found = gateway.tables.mappings.get(&key).unwrap();
    found.map(|mapping| mapping.admits())
}

#[test]
fn a_port_that_was_asked_for_is_granted_listed_renewed_and_withdrawn() {
    let gateway = Gateway::start();
    assert_eq!(listed(&gateway), []);
    let wish = MappingRequest {
        external: Some("192.0.2.11:8443".to_owned()),
        lifetime_seconds: Some(600),
        owner: Some("team a".to_owned()),
        ..ask("10.1.0.7:443")
    };

    let mapping = granted(&gateway, &wish);

    assert_eq!(mapping.external.to_string(), "192.0.2.11:8443");
    assert_eq!(mapping.internal.to_string(), "10.1.0.7:443");
    assert_eq!(mapping.pool.as_deref(), Some("team-a"));
    assert_eq!(mapping.owner.as_deref(), Some("team a"));
    assert!(mapping.standing && mapping.forward.is_none());
    assert!((590..=600).contains(&mapping.expires_in_seconds.unwrap()));
    assert_eq!(
        admits(&gateway, [192, 0, 2, 11], 8443),
        Some(Admits::Everyone)
    );
    let [one] = &listed(&gateway)[..] else {
        panic!("one is listed")
    };
    assert_eq!(one.external, mapping.external);

    let longer = MappingRequest {
        lifetime_seconds: Some(10_000_000),
        ..wish.clone()
    };
    let renewed = granted(&gateway, &longer);
    assert_eq!(renewed.external, mapping.external);
    assert_eq!(renewed.expires_in_seconds, Some(86_400));

    let query = "protocol=tcp&internal=10.1.0.7:443";
    assert_eq!(withdraw(&gateway, query).status, 403);
    let gone: Mapping = withdraw(&gateway, &format!("{query}&owner=team+a")).json();
    assert_eq!(gone.external, mapping.external);
    assert_eq!(listed(&gateway), []);
    assert_eq!(withdraw(&gateway, query).status, 404);
    assert_ne!(
        admits(&gateway, [192, 0, 2, 11], 8443),
        Some(Admits::Everyone)
    );
}

#[test]
fn what_cannot_be_granted_says_why_and_what_to_do() {
    let gateway = Gateway::start();
    granted(
        &gateway,
        &MappingRequest {
            external: Some("192.0.2.11:8443".to_owned()),
            ..ask("10.1.0.7:443")
        },
    );
    let icmp = MappingRequest {
        protocol: api::http::Protocol::Icmp,
        ..ask("10.1.0.8:443")
    };
    let only = |external: &str| MappingRequest {
        external: Some(external.to_owned()),
        prefer_failure: true,
        ..ask("10.1.0.8:443")
    };
    for (request, status, why) in [
        (ask("10.9.0.7:443"), 409, "no rule gives 10.9.0.7 a pool"),
        (icmp, 400, "ICMP has none"),
        (only("192.0.2.11:8443"), 409, "port 8443 of 192.0.2.11"),
        (only("192.0.2.20:20000"), 409, "no external address"),
        (only(":80"), 409, "is not free"),
        (ask("10.1.0.8"), 400, "not an internal endpoint"),
    ] {
        let answer = post(&gateway, &request);
        assert_eq!(answer.status, status, "{}", answer.text());
        let error: ApiError = answer.json();
        assert!(error.error.contains(why), "{error}");
        assert!(!error.help.is_empty());
    }
    assert_eq!(listed(&gateway).len(), 1);
}

#[test]
fn a_mapping_ends_by_itself_when_its_time_is_over() {
    let gateway = Gateway::start();
    let short = MappingRequest {
        lifetime_seconds: Some(2),
        ..ask("10.1.0.7:443")
    };
    let mapping = granted(&gateway, &short);

    gateway.await_status(|_| listed(&gateway).is_empty());

    let port = mapping.external.port;
    let address = mapping.external.to_string();
    let address = if address.starts_with("192.0.2.10") {
        [192, 0, 2, 10]
    } else {
        [192, 0, 2, 11]
    };
    gateway.await_status(|_| admits(&gateway, address, port).is_none());
}

#[test]
fn a_client_that_has_a_port_already_is_granted_that_one() {
    let gateway = Gateway::start();
    let flow = Entry::tcp("10.1.0.7:443", "192.0.2.11:5555", "198.51.100.9:443");
    entries::write(&gateway.tables, &[flow]);

    let wish = MappingRequest {
        external: Some("192.0.2.11".to_owned()),
        ..ask("10.1.0.7:443")
    };
    let mapping = granted(&gateway, &wish);

    assert_eq!(mapping.external.to_string(), "192.0.2.11:5555");
}

#[test]
fn what_the_configuration_forwards_is_listed_and_goes_with_it() {
    let gateway = Gateway::start();
    let forwards = "
    forwards:
      - {name: web, service: tcp/443, address: 192.0.2.10, to: 10.1.0.5}
      - {name: range, service: tcp/8000-8009, address: 192.0.2.10, to: '10.1.0.5:9000', from: [198.51.100.0/24]}
";
    let with = CONFIG.replace(
        "  - {name: team-a, addresses: [192.0.2.10, 192.0.2.11]}\n",
        &format!("  - name: team-a\n    addresses: [192.0.2.10, 192.0.2.11]{forwards}"),
    );

    let applied: api::http::Applied = gateway.apply(&with, |_| ()).json();

    assert_eq!(
        applied.changes,
        [
            "forward web comes: tcp 192.0.2.10:443 leads to 10.1.0.5:443",
            "forward range comes: tcp 192.0.2.10:8000-8009 leads to 10.1.0.5:9000-9009",
        ]
    );
    let [web, range] = &listed(&gateway)[..] else {
        panic!("two are listed")
    };
    assert_eq!(web.forward.as_deref(), Some("web"));
    assert_eq!((web.ports, web.expires_in_seconds), (1, None));
    assert!(web.standing && range.standing && web.from.is_empty());
    assert_eq!(
        (range.ports, &range.from[..]),
        (10, &["198.51.100.0/24".to_owned()][..])
    );
    assert_eq!(
        admits(&gateway, [192, 0, 2, 10], 443),
        Some(Admits::Everyone)
    );
    assert!(matches!(
        admits(&gateway, [192, 0, 2, 10], 8009),
        Some(Admits::Listed(_))
    ));

    assert_eq!(gateway.apply(CONFIG, |_| ()).status, 200);

    assert_eq!(listed(&gateway), []);
    gateway.await_status(|_| admits(&gateway, [192, 0, 2, 10], 443).is_none());
}
