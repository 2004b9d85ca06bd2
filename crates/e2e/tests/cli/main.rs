//! Every command of `egret` against a live gateway, as people and as programs use it, and what the
//! daemon says to both of a configuration that is not one.

mod agree;
mod change;
mod documents;
mod malformed;
mod show;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Output;

use anyhow::{Result, ensure};
use e2e::harness::Gateway;
use lab::{Site, Target, Topology};

/// Pods, a pool for them, and a rule with everything that a table can show.
const POLICY: &str = "
pools:
  - {name: team-a, addresses: [192.0.2.10, 192.0.2.11]}
rules:
  - {name: out, sources: [10.1.0.0/24, 10.2.0.0/16], destinations: [198.51.100.0/24], pool: team-a}
";

/// The same for another pool.
const OTHER: &str = "
pools:
  - {name: team-b, addresses: [192.0.2.12]}
rules:
  - {name: out, sources: [10.1.0.0/24, 10.2.0.0/16], destinations: [198.51.100.0/24], pool: team-b}
";

const DB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);

/// Where the target answers datagrams.
const DATAGRAMS: SocketAddrV4 = SocketAddrV4::new(DB, 53);

fn launched(test: &str) -> Result<(Site, Gateway)> {
    let site = Topology::two_arm(&format!("cli-{test}-{}", std::process::id()))
        .pods("10.1.0.0/24", ["a1", "a2"])
        .clients("a2", "10.2.0.0/16")
        .gateway("gw")
        .target(Target::guarded("db").http(80).datagrams(53).stream(9000))
        .external(["192.0.2.10", "192.0.2.11", "192.0.2.12"])
        .build()?;
    let gateway = Gateway::launch(site.host("gw")?, POLICY)?;
    Ok((site, gateway))
}

/// What a program printed, and how it ended.
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs `egret` and expects this exit status.
fn egret(gateway: &Gateway, status: i32, args: &[&str]) -> Result<Said> {
    let said = Said::from(gateway.run_egret(args)?);
    ensure!(
        said.status == Some(status),
        "`egret {}` ended with {:?}, not {status}\n{}{}",
        args.join(" "),
        said.status,
        said.out,
        said.err
    );
    Ok(said)
}
