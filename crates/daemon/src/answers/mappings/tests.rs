//! What questions about mappings mean, and which cannot be understood.

use super::*;

fn request(internal: &str, external: Option<&str>) -> MappingRequest {
    MappingRequest {
        protocol: api::http::Protocol::Tcp,
        internal: internal.to_owned(),
        external: external.map(str::to_owned),
        prefer_failure: false,
        lifetime_seconds: None,
        owner: None,
    }
}

#[test]
fn an_external_endpoint_is_an_address_a_port_or_both() {
    let read = |external| {
        let ask = asked(&request("10.0.0.5:8443", external)).expect("it can be understood");
        (ask.address, ask.port)
    };
    let address = Some(IpAddr::from([192, 0, 2, 1]));
    let address6: Option<IpAddr> = "2001:db8::1".parse().ok();

    assert_eq!(read(None), (None, None));
    assert_eq!(read(Some("192.0.2.1")), (address, None));
    assert_eq!(read(Some(":8443")), (None, Some(8443)));
    assert_eq!(read(Some("192.0.2.1:8443")), (address, Some(8443)));
    assert_eq!(read(Some("2001:db8::1")), (address6, None));
    assert_eq!(read(Some("[2001:db8::1]")), (address6, None));
    assert_eq!(read(Some("[2001:db8::1]:8443")), (address6, Some(8443)));
    assert_eq!(read(Some("[::ffff:192.0.2.1]:80")), (address, Some(80)));
    for wrong in [
        "",
        ":",
        ":0",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "web:80",
        "[::1]:0",
    ] {
        let error = asked(&request("10.0.0.5:8443", Some(wrong))).expect_err(wrong);
        assert!(
            error.error.contains("external endpoint"),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn an_internal_endpoint_has_an_address_and_a_port() {
    let read = |internal| asked(&request(internal, None)).map(|ask| ask.internal);
    assert_eq!(read("10.0.0.5:80"), Ok(([10, 0, 0, 5], 80).into()));
    let six = "[2001:db8::5]:80".parse().expect("an endpoint");
    assert_eq!(read("[2001:db8::5]:80"), Ok(six));
    for wrong in [
        "",
        "10.0.0.5",
        "10.0.0.5:0",
        ":80",
        "web:80",
        "[::1]",
        "2001:db8::5",
    ] {
        let error = asked(&request(wrong, None)).expect_err(wrong);
        assert!(
            error.error.contains("internal endpoint"),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn a_lifetime_has_bounds_and_an_owner_a_length() {
    let with = |lifetime_seconds, owner: Option<&str>| {
        asked(&MappingRequest {
            lifetime_seconds,
            owner: owner.map(str::to_owned),
            ..request("10.0.0.5:8443", None)
        })
    };
    let lifetime = |seconds| with(seconds, None).expect("it is good").lifetime;

    assert_eq!(lifetime(None), LIFETIME_DEFAULT);
    assert_eq!(lifetime(Some(5)), Duration::from_secs(5));
    assert_eq!(lifetime(Some(u64::MAX)), LIFETIME_MAX);
    assert!(with(Some(0), None).is_err());
    assert!(with(None, Some(&"x".repeat(32))).is_ok());
    assert!(with(None, Some(&"x".repeat(33))).is_err());
}
