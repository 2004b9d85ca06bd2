//! Which rule wants a flow: by source, destination, protocol and port; the first that matches.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use api::http::{FlowsQuery, Protocol};
use e2e::harness::Gateway;
use lab::{Host, Target, Topology};

use crate::{A1, A2, API, DB, at, name, of_client};

/// One pool for each way to select, so that the address tells which rule it was.
const POLICY: &str = "
pools:
  - {name: by-host, addresses: [192.0.2.10]}
  - {name: by-source, addresses: [192.0.2.11]}
  - {name: by-destination, addresses: [192.0.2.12]}
  - {name: by-port, addresses: [192.0.2.13]}
  - {name: by-range, addresses: [192.0.2.14]}
  - {name: by-udp, addresses: [192.0.2.15]}
  - {name: by-icmp, addresses: [192.0.2.16]}
rules:
  - {name: exempt, sources: [10.1.0.12], destinations: [198.51.100.12], services: [tcp/81], action: pass}
  - {name: host, sources: [10.1.0.11], destinations: [198.51.100.11], services: [tcp/80], pool: by-host}
  - {name: range, sources: [10.1.0.0/24], services: [tcp/9000-9007], pool: by-range}
  - {name: port, sources: [10.1.0.0/24], services: [tcp/81], pool: by-port}
  - {name: dns, sources: [10.1.0.0/24], services: [udp], pool: by-udp}
  - {name: pings, sources: [10.1.0.0/24], services: [icmp], pool: by-icmp}
  - {name: destination, sources: [10.1.0.0/24], destinations: [198.51.100.12/31], services: [tcp/80], pool: by-destination}
  - {name: source, sources: [10.1.0.12/31], services: [tcp/80], pool: by-source}
";

/// How the address that the target sees is found out.
#[derive(Clone, Copy, Debug)]
enum By {
    Tcp(u16),
    Udp(u16),
    Ping,
}

#[test]
fn the_first_rule_that_matches_decides() -> Result<()> {
    let everything = |name| {
        Target::open(name)
            .http(80)
            .http(81)
            .http(82)
            .http(9000)
            .http(9007)
            .http(9008)
    };
    let site = Topology::two_arm(&name("rules"))
        .pods("10.1.0.0/24", ["a1", "a2"])
        .gateway("gw")
        .target(everything("db").datagrams(53))
        .target(everything("api").datagrams(53))
        .external(["192.0.2.0/24"])
        .build()?;
    let gateway = Gateway::launch(site.host("gw")?, POLICY)?;
    let (a1, a2) = (site.host("a1")?, site.host("a2")?);

    for (pod, target, by, expected) in [
        (a1, DB, By::Tcp(80), "192.0.2.10"),
        (a2, DB, By::Tcp(80), "192.0.2.11"),
        (a1, API, By::Tcp(80), "192.0.2.12"),
        (a2, API, By::Tcp(80), "192.0.2.12"),
        (a1, DB, By::Tcp(81), "192.0.2.13"),
        (a1, API, By::Tcp(81), "192.0.2.13"),
        (a2, DB, By::Tcp(81), "192.0.2.13"),
        (a2, API, By::Tcp(81), "10.1.0.12"),
        (a1, DB, By::Tcp(9000), "192.0.2.14"),
        (a2, API, By::Tcp(9007), "192.0.2.14"),
        (a1, DB, By::Tcp(9008), "10.1.0.11"),
        (a2, DB, By::Tcp(82), "10.1.0.12"),
        (a1, API, By::Udp(53), "192.0.2.15"),
        (a2, DB, By::Udp(53), "192.0.2.15"),
        (a1, DB, By::Ping, "192.0.2.16"),
        (a2, API, By::Ping, "192.0.2.16"),
    ] {
        let seen = seen(&gateway, pod, target, by)
            .with_context(|| format!("{} to {target} by {by:?}", pod.name()))?;
        println!("{} to {target} by {by:?} is seen as {seen}", pod.name());
        assert_eq!(
            seen.to_string(),
            expected,
            "{} to {target} by {by:?}",
            pod.name()
        );
    }
    gateway.finish()
}

fn seen(gateway: &Gateway, pod: &Host, target: Ipv4Addr, by: By) -> Result<IpAddr> {
    match by {
        By::Tcp(port) => {
            let body = pod.curl(&format!("http://{target}:{port}/"))?;
            Ok(body.trim().parse::<SocketAddr>()?.ip())
        }
        By::Udp(port) => Ok((*pod.ask(at(target, port), b"?")?.seen.ip()).into()),
        By::Ping => {
            anyhow::ensure!(pod.ping(target)?, "no answer");
            let client = if pod.name() == "a1" { A1 } else { A2 };
            let flow = gateway.only_flow(&FlowsQuery {
                protocol: Some(Protocol::Icmp),
                ..of_client(client)
            })?;
            Ok(flow.external.address)
        }
    }
}
