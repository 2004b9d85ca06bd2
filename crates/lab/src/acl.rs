//! The list of who may reach a host, as a firewall in front of a database would keep it.
//!
//! Stateless on purpose: connection tracking would fill up long before the gateway does.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::namespace::Namespace;
use crate::tool::{self, Place};
use crate::{Error, Prefix, mirror};

/// The nftables table that holds the list.
const TABLE: &str = "egret_lab";

/// Who may reach a host, and what the others get.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acl {
    /// The addresses that may, and their [mirrors](crate::mirror()).
    pub admitted: Vec<Prefix>,
    /// What happens to everybody else.
    pub refusal: Refusal,
}

/// What happens to who is not on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// TCP gets a reset, all else an ICMP error: the client knows at once.
    Reject,
    /// Nothing comes back.
    Drop,
}

/// How many packets were let in and how many were not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admissions {
    /// Packets from addresses on the list.
    pub admitted: u64,
    /// Packets from all others.
    pub refused: u64,
}

/// Puts the list in force, in place of an earlier one; the counters start from zero.
pub(crate) fn enforce(namespace: &Namespace, acl: &Acl) -> Result<(), Error> {
    tool::run(Place::In(namespace), "nft", &["-f", "-"], &rules(acl)).map(drop)
}

/// Reads the counters of the list in force.
pub(crate) fn admissions(namespace: &Namespace) -> Result<Admissions, Error> {
    let args = ["-j", "list", "counters", "table", "inet", TABLE];
    let output = tool::run(Place::In(namespace), "nft", &args, "")?;
    let document: Option<Value> = serde_json::from_str(&output).ok();
    let packets = |name: &str| {
        let items = document.as_ref()?.get("nftables")?.as_array()?;
        let mut counters = items.iter().filter_map(|item| item.get("counter"));
        counters
            .find(|counter| counter.get("name").is_some_and(|it| it == name))?
            .get("packets")?
            .as_u64()
    };
    match (packets("admitted"), packets("refused")) {
        (Some(admitted), Some(refused)) => Ok(Admissions { admitted, refused }),
        (None, _) | (_, None) => Err(Error::ToolOutput {
            command: format!("nft {}", args.join(" ")),
            output,
        }),
    }
}

fn rules(acl: &Acl) -> String {
    let refuse = match acl.refusal {
        Refusal::Reject => {
            "meta l4proto tcp reject with tcp reset\n\t\treject with icmpx admin-prohibited"
        }
        Refusal::Drop => "drop",
    };
    // An empty set is written without elements: `elements = { }` is a syntax error.
    let elements = |admitted: Vec<String>| match admitted.as_slice() {
        [] => String::new(),
        some => format!("elements = {{ {} }}", some.join(", ")),
    };
    let guests = elements(acl.admitted.iter().map(Prefix::to_string).collect());
    let guests6 = elements(acl.admitted.iter().map(|it| mirror::prefix(*it)).collect());
    // ICMP errors are let in whoever sends them: a router on the way is nobody's client, and
    // without its "fragmentation needed" a connection hangs. Neighbours of IPv6 ask each other by ICMP.
    format!(
        "table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
	counter admitted {{ }}
	counter refused {{ }}
	set guests {{ type ipv4_addr; flags interval; {guests}; }}
	set guests6 {{ type ipv6_addr; flags interval; {guests6}; }}
	chain input {{
		type filter hook input priority filter; policy accept;
		iif lo accept
		icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} accept
		icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} accept
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
		ip saddr @guests counter name admitted accept
		ip6 saddr @guests6 counter name admitted accept
		counter name refused
		{refuse}
	}}
}}
"
    )
}
