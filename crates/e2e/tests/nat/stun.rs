//! What an independent program finds out about the gateway from inside: `turnutils_natdiscovery`
//! (RFC 5780) against coturn's STUN server with two addresses.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use e2e::harness::Gateway;
use lab::{Host, Process, Site, Topology};

use crate::{API, SOON, at, name, site};

/// The server's other address, on the same host as [`API`].
const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 13);
/// The ports it listens on, at both addresses.
const PORTS: [u16; 2] = [3478, 3479];

/// One of coturn's programs: from where `cargo xtask` unpacked it, or this machine's own.
fn coturn(program: &str) -> Command {
    let Some(root) = std::env::var_os("EGRET_COTURN").map(PathBuf::from) else {
        return Command::new(program);
    };
    let mut command = Command::new(root.join("usr/bin").join(program));
    command.env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu"));
    command
}

/// Starts the server, and waits until it answers.
fn serve(host: &Host) -> Result<Process> {
    host.ip(&format!("addr add {OTHER}/32 dev eth0"))?;
    let mut server = coturn("turnserver");
    server.args([
        "-n",
        "--stun-only",
        "--no-tls",
        "--no-dtls",
        "--no-cli",
        "--no-tcp",
    ]);
    server.args([
        "--log-file",
        "/dev/null",
        "--pidfile",
        "/dev/null",
        "--simple-log",
    ]);
    for address in [API, OTHER] {
        server.args(["-L", &address.to_string()]);
    }
    let server = host.spawn(server)?;
    // A binding request without attributes (RFC 8489 §5).
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend([7; 12]);
    for address in [API, OTHER] {
        for port in PORTS {
            let target = at(address, port);
            host.enter(|| -> Result<()> {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.set_read_timeout(Some(SOON / 50))?;
                let deadline = std::time::Instant::now() + SOON;
                while std::time::Instant::now() < deadline {
                    socket.send_to(&request, target)?;
                    if socket.recv(&mut [0; 512]).is_ok() {
                        return Ok(());
                    }
                }
                bail!("the STUN server does not answer on {target}")
            })??;
        }
    }
    Ok(server)
}

/// What natdiscovery says, asked for one kind of behaviour.
fn discovered(site: &Site, question: &str) -> Result<String> {
    let mut discovery = coturn("turnutils_natdiscovery");
    discovery.args([question, &API.to_string()]);
    let output = site.host("a1")?.run(discovery)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("natdiscovery {question}: {}", said.trim());
    Ok(said)
}

fn launched(test: &str, behaviour: &str) -> Result<(Site, Gateway, Process)> {
    let site = site(Topology::two_arm(&name(test)))?;
    let policy = format!(
        "pools:\n  - {{name: web, addresses: [192.0.2.10], {behaviour}}}\nrules:\n  \
         - {{name: out, sources: [10.1.0.0/24], pool: web}}\n"
    );
    let gateway = Gateway::launch(site.host("gw")?, &policy)?;
    let server = serve(site.host("api")?)?;
    Ok((site, gateway, server))
}

#[test]
fn a_default_pool_is_found_to_map_by_endpoint_and_to_filter_by_address() -> Result<()> {
    let (site, gateway, _server) = launched("stun", "ports: 1024-65535")?;

    let mapping = discovered(&site, "-m")?;
    let filtering = discovered(&site, "-f")?;

    assert!(
        mapping.contains("Endpoint Independent Mapping"),
        "{mapping}"
    );
    assert!(
        filtering.contains("Address Dependent Filtering"),
        "{filtering}"
    );
    gateway.finish()
}

#[test]
fn a_strict_pool_is_found_to_be_strict_and_an_open_one_open() -> Result<()> {
    let modes = |kind: &str, mode: &str| format!("{kind}: {{udp: {mode}}}");
    for (mode, mapped, filtered) in [
        (
            "endpoint-independent",
            "Endpoint Independent Mapping",
            "Endpoint Independent Filtering",
        ),
        (
            "address-dependent",
            "Address Dependent Mapping",
            "Address Dependent Filtering",
        ),
        (
            "address-and-port-dependent",
            "Address and Port Dependent Mapping",
            "Address and Port Dependent Filtering",
        ),
    ] {
        let both = format!("{}, {}", modes("mapping", mode), modes("filtering", mode));
        let (site, gateway, _server) = launched("stun-modes", &both)?;

        let mapping = discovered(&site, "-m")?;
        let filtering = discovered(&site, "-f")?;

        assert!(mapping.contains(mapped), "{mode}: {mapping}");
        assert!(filtering.contains(filtered), "{mode}: {filtering}");
        gateway.finish()?;
    }
    Ok(())
}

/// It asks from another port, which it never told: so only an open filter lets it in.
#[test]
fn an_open_pool_is_found_to_hairpin() -> Result<()> {
    let open = "filtering: {udp: endpoint-independent}";
    let (site, gateway, _server) = launched("stun-hairpin", open)?;

    let hairpinning = discovered(&site, "-H")?;

    assert!(
        hairpinning.contains("successful hairpinning"),
        "{hairpinning}"
    );
    gateway.finish()
}
