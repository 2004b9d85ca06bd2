//! What scapy says of the gateway: packets that it crafts go in at both sides, and it takes apart what
//! comes out. It shares no line of code with what makes frames and checksums for all other tests.
//!
//! The sentences are functions of the scripts beside this file, `main.py` calls one of them; what a
//! packet is, and whether it is right, is said there. Here stand the gateways they are told of, and
//! what these counted. `cargo xtask e2e scapy` brings scapy.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use e2e::harness::Gateway;
use e2e::wire::mac;
use lab::{Host, Site, Target, Topology};
use serde_json::{Value, json};

/// Where `cargo xtask` put scapy; without, whatever Python finds.
const FOLDER: &str = "EGRET_SCAPY";
/// Seconds that a sentence may take. The longest takes five.
const SECONDS_MAX: &str = "60";
/// What `timeout` returns if it had to end what it runs.
const TIMED_OUT: i32 = 124;

/// Clients and remotes are addresses that nobody has: the routers answer nothing for them. So are the
/// hosts of prefixes, which are led through the gateway.
const ROUTES: [(&str, &str); 8] = [
    ("inside", "blackhole 10.1.0.64/26"),
    ("inside", "blackhole 2001:db8::10.1.0.64/122"),
    ("inside", "blackhole fd01:203:405::/48"),
    ("outside", "blackhole 203.0.113.0/24"),
    ("outside", "blackhole 2001:db8::203.0.113.0/120"),
    ("outside", "192.0.2.64/28 via 172.31.2.11"),
    ("outside", "2001:db8:1::/48 via 2001:db8::172.31.2.11"),
    ("gw", "fd01:203:405::/48 via 2001:db8::172.31.1.1"),
];

/// Clients of one address, and everything else as it is by default.
const POLICY: &str = "
pools:
  - {name: web, addresses: [192.0.2.10]}
rules:
  - {name: out, sources: [10.1.0.0/24], pool: web}
";

/// Clients of both versions, and a prefix for remotes of IPv4.
const BOTH: &str = "
pools:
  - {name: both, addresses: [192.0.2.10, '2001:db8::192.0.2.10']}
rules:
  - {name: both, sources: [10.1.0.0/24, '2001:db8::10.1.0.0/120'], pool: both}
nat64: {prefixes: ['64:ff9b::/96']}
";

/// Two addresses, so that two clients can have the same remote without ports.
const TWO: &str = "
pools:
  - {name: web, addresses: [192.0.2.10, 192.0.2.11]}
rules:
  - {name: out, sources: [10.1.0.0/24], pool: web}
";

/// Hosts of both versions that are known outside by addresses of their own; that of IPv6 is the example
/// of RFC 6296.
const PREFIXES: &str = "
prefixes:
  - {name: pods, internal: 10.1.0.64/28, external: 192.0.2.64/28}
  - {name: office, internal: 'fd01:203:405::/48', external: '2001:db8:1::/48'}
";

/// What a gateway must have counted when a sentence is told: the reason, and how often.
type Counted<'a> = &'a [(&'a str, u64)];

/// Starts a gateway with two arms, and has a script tell a sentence of it.
fn tell(script: &str, sentence: &str, policy: &str, counted: Counted) -> Result<()> {
    let site = site()?;
    let gateway = Gateway::launch(site.host("gw")?, policy)?;

    run(&site, script, sentence)?;

    for (reason, times) in counted {
        let found = gateway.counter(reason)?.packets;
        ensure!(found == *times, "{reason}: {found} packets and not {times}");
    }
    gateway.finish()
}

fn site() -> Result<Site> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let site = Topology::two_arm(&format!("scapy-{number}-{}", std::process::id()))
        .pods("10.1.0.0/24", ["a1"])
        .gateway("gw")
        .target(Target::open("api"))
        .external(["192.0.2.10", "192.0.2.11"])
        .ipv6()
        .build()?;
    for (host, route) in ROUTES {
        site.host(host)?.ip(&format!("route add {route}"))?;
    }
    Ok(site)
}

/// Runs one sentence, shows what it prints, and fails with what it complains of.
fn run(site: &Site, script: &str, sentence: &str) -> Result<()> {
    let edges = json!({
        "inside": edge(site, "inside", "in0", "10.1.0.254")?,
        "outside": edge(site, "outside", "out0", "203.0.113.1")?,
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scapy");
    let mut python = Command::new("timeout");
    python.args([SECONDS_MAX, "python3", "-B"]);
    python.arg(folder.join("main.py"));
    python.args([script, sentence, &edges.to_string()]);
    if let Some(scapy) = std::env::var_os(FOLDER) {
        python.env("PYTHONPATH", scapy);
    }
    let output = python.output().context("cannot start Python")?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() != Some(TIMED_OUT),
        "{script}.py, {sentence}: took {SECONDS_MAX} seconds\n{complaint}"
    );
    ensure!(
        output.status.success(),
        "{script}.py, {sentence}: {}\n{complaint}",
        output.status
    );
    Ok(())
}

/// What a script has to know of the wire at an interface of the gateway; `beyond` is where its kernel
/// sends markers that are to come out there.
fn edge(site: &Site, router: &str, interface: &str, beyond: &str) -> Result<Value> {
    let (router, gateway): (&Host, &Host) = (site.host(router)?, site.host("gw")?);
    Ok(json!({
        "namespace": router.namespace(),
        "port": "gateways_0",
        "here": text(mac(router, "gateways")?),
        "gateway": text(gateway.mac(interface)?),
        "beyond": beyond,
    }))
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[test]
fn odd_packets_are_translated_and_nothing_else_of_them_changes() -> Result<()> {
    tell(
        "shapes",
        "odd_packets_are_translated_and_nothing_else_of_them_changes",
        POLICY,
        &[],
    )
}

#[test]
fn packets_that_lie_about_themselves_show_nobody_the_client() -> Result<()> {
    tell(
        "shapes",
        "packets_that_lie_about_themselves_show_nobody_the_client",
        POLICY,
        &[("malformed", 5), ("protocol", 3)],
    )
}

#[test]
fn what_was_damaged_on_its_way_does_not_look_right_afterwards() -> Result<()> {
    tell(
        "shapes",
        "what_was_damaged_on_its_way_does_not_look_right_afterwards",
        POLICY,
        &[],
    )
}

#[test]
fn datagrams_in_fragments_of_any_size_are_whole_again_in_whatever_order_they_come() -> Result<()> {
    tell(
        "fragments",
        "datagrams_in_fragments_of_any_size_are_whole_again_in_whatever_order_they_come",
        POLICY,
        &[],
    )
}

#[test]
fn of_fragments_that_overlap_only_what_came_first_passes() -> Result<()> {
    tell(
        "fragments",
        "of_fragments_that_overlap_only_what_came_first_passes",
        POLICY,
        &[("fragment_overlap", 3)],
    )
}

#[test]
fn a_first_fragment_without_a_whole_transport_header_is_dropped_with_all_others() -> Result<()> {
    tell(
        "fragments",
        "a_first_fragment_without_a_whole_transport_header_is_dropped_with_all_others",
        POLICY,
        &[],
    )
}

#[test]
fn a_connection_is_translated_from_its_opening_to_its_end() -> Result<()> {
    tell(
        "tcp",
        "a_connection_is_translated_from_its_opening_to_its_end",
        POLICY,
        &[],
    )
}

#[test]
fn resets_from_elsewhere_do_not_come_in_and_the_connection_goes_on() -> Result<()> {
    tell(
        "tcp",
        "resets_from_elsewhere_do_not_come_in_and_the_connection_goes_on",
        POLICY,
        &[],
    )
}

#[test]
fn both_ends_may_open_a_connection_at_once() -> Result<()> {
    tell(
        "tcp",
        "both_ends_may_open_a_connection_at_once",
        POLICY,
        &[],
    )
}

#[test]
fn errors_from_outside_tell_the_client_of_what_it_sent_itself() -> Result<()> {
    tell(
        "errors",
        "errors_from_outside_tell_the_client_of_what_it_sent_itself",
        POLICY,
        &[],
    )
}

#[test]
fn errors_from_inside_show_the_remote_what_it_sent_and_nobody_else() -> Result<()> {
    tell(
        "errors",
        "errors_from_inside_show_the_remote_what_it_sent_and_nobody_else",
        POLICY,
        &[],
    )
}

#[test]
fn errors_that_are_damaged_or_about_nothing_do_not_come_in() -> Result<()> {
    tell(
        "errors",
        "errors_that_are_damaged_or_about_nothing_do_not_come_in",
        POLICY,
        &[("icmp_error", 8)],
    )
}

#[test]
fn packets_with_extension_headers_are_translated_and_nothing_else_of_them_changes() -> Result<()> {
    tell(
        "six",
        "packets_with_extension_headers_are_translated_and_nothing_else_of_them_changes",
        BOTH,
        &[],
    )
}

#[test]
fn fragments_of_ipv6_are_whole_again_in_whatever_order_they_come() -> Result<()> {
    tell(
        "six",
        "fragments_of_ipv6_are_whole_again_in_whatever_order_they_come",
        BOTH,
        &[],
    )
}

#[test]
fn errors_of_ipv6_tell_the_client_of_what_it_sent_itself() -> Result<()> {
    tell(
        "six",
        "errors_of_ipv6_tell_the_client_of_what_it_sent_itself",
        BOTH,
        &[],
    )
}

#[test]
fn packets_of_ipv6_become_ipv4_and_their_answers_ipv6() -> Result<()> {
    tell(
        "six",
        "packets_of_ipv6_become_ipv4_and_their_answers_ipv6",
        BOTH,
        &[],
    )
}

#[test]
fn datagrams_without_a_checksum_have_one_when_they_are_ipv6() -> Result<()> {
    tell(
        "six",
        "datagrams_without_a_checksum_have_one_when_they_are_ipv6",
        BOTH,
        &[],
    )
}

#[test]
fn fragments_of_ipv4_become_fragments_of_ipv6_and_back() -> Result<()> {
    tell(
        "six",
        "fragments_of_ipv4_become_fragments_of_ipv6_and_back",
        BOTH,
        &[],
    )
}

#[test]
fn errors_of_ipv4_become_errors_of_ipv6_about_what_the_client_sent() -> Result<()> {
    tell(
        "six",
        "errors_of_ipv4_become_errors_of_ipv6_about_what_the_client_sent",
        BOTH,
        &[],
    )
}

#[test]
fn errors_of_ipv6_become_errors_of_ipv4_about_what_the_remote_sent() -> Result<()> {
    tell(
        "six",
        "errors_of_ipv6_become_errors_of_ipv4_about_what_the_remote_sent",
        BOTH,
        &[],
    )
}

#[test]
fn a_source_route_leads_nobody_into_ipv6() -> Result<()> {
    tell(
        "six",
        "a_source_route_leads_nobody_into_ipv6",
        BOTH,
        &[("source_route", 1)],
    )
}

#[test]
fn associations_of_sctp_keep_their_ports_and_scapys_checksum() -> Result<()> {
    tell(
        "protocols",
        "associations_of_sctp_keep_their_ports_and_scapys_checksum",
        TWO,
        &[],
    )
}

#[test]
fn two_clients_of_one_remote_have_two_addresses_by_gre_and_by_esp() -> Result<()> {
    tell(
        "protocols",
        "two_clients_of_one_remote_have_two_addresses_by_gre_and_by_esp",
        TWO,
        &[],
    )
}

#[test]
fn a_host_is_its_external_address_in_whatever_it_sends_and_gets() -> Result<()> {
    tell(
        "prefixes",
        "a_host_is_its_external_address_in_whatever_it_sends_and_gets",
        PREFIXES,
        &[("translated_out", 0)],
    )
}

#[test]
fn prefixes_of_ipv6_make_up_for_each_other_so_that_no_checksum_changes() -> Result<()> {
    tell(
        "prefixes",
        "prefixes_of_ipv6_make_up_for_each_other_so_that_no_checksum_changes",
        PREFIXES,
        &[("translated_out", 0)],
    )
}

#[test]
fn errors_about_a_hosts_packets_quote_what_it_sent() -> Result<()> {
    tell(
        "prefixes",
        "errors_about_a_hosts_packets_quote_what_it_sent",
        PREFIXES,
        &[],
    )
}
