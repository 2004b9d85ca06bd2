//! A tally of packets that should not be there: internal sources beyond the gateway.
//!
//! Counted by the kernel of the router behind the gateway, so that none is missed in a flood.

use anyhow::{Context, Result};
use lab::Host;

/// The nftables table that counts.
const TABLE: &str = "egret_leaks";

/// Counts what arrives at a host with a source in a prefix.
pub struct Leaks {
    host: Host,
}

impl Leaks {
    /// Starts to count what a host receives from sources in `prefix`.
    ///
    /// # Errors
    ///
    /// If the host's kernel refuses the rules.
    pub fn watch(host: &Host, prefix: &str) -> Result<Self> {
        host.nft(&format!(
            "table ip {TABLE} {{
                counter leaked {{ }}
                chain arriving {{
                    type filter hook prerouting priority raw;
                    ip saddr {prefix} counter name leaked
                }}
            }}"
        ))?;
        Ok(Self { host: host.clone() })
    }

    /// How many packets there have been.
    ///
    /// # Errors
    ///
    /// If the counter cannot be read.
    pub fn packets(&self) -> Result<u64> {
        let args = ["-j", "list", "counter", "ip", TABLE, "leaked"];
        let output = self.host.succeed("nft", args)?;
        let document: serde_json::Value = serde_json::from_str(&output)?;
        let items = document["nftables"].as_array();
        let counter = items.and_then(|items| items.iter().find_map(|item| item.get("counter")));
        let packets = counter.and_then(|counter| counter["packets"].as_u64());
        packets.with_context(|| format!("no counter in {output}"))
    }
}
