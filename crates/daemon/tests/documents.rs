//! What the manual says of the API, the metrics and the drops is what the code says.

use std::{fs, path::PathBuf};

use abi::{Reason, Verdict};
use api::http::path;
use serde_json::Value;

use crate::rig::schema::resolve;

#[track_caller]
fn check(document: &str, made: &str) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../docs", document]
        .iter()
        .collect();
    if std::env::var_os("EGRET_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, made).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "docs/{document} is stale: `EGRET_BLESS=1 cargo test -p egret-daemon --test main \
         documents` writes it anew"
    );
}

fn openapi() -> Value {
    serde_json::from_str(&daemon::http::document()).unwrap()
}

#[test]
fn the_committed_openapi_document_is_the_one_that_is_served() {
    check("openapi.json", &daemon::http::document());
}

#[test]
fn the_manual_has_every_metric() {
    check("operate/metrics.md", &metrics());
}

#[test]
fn the_manual_has_every_reason() {
    check("operate/drops.md", &drops());
}

#[test]
fn every_path_of_the_api_is_documented() {
    let document = openapi();
    let documented: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();

    let mut paths = [
        path::STATUS,
        path::FLOWS,
        path::FLOW,
        path::WHO,
        path::POOLS,
        path::MAPPINGS,
        path::BGP,
        path::BFD,
        path::CLUSTER,
        path::OWNER,
        path::DRAIN,
        path::DROPS,
        path::COUNTERS,
        path::CONFIG,
        path::OPENAPI,
        path::METRICS,
        path::HEALTHY,
        path::READY,
    ];
    paths.sort_unstable();

    assert_eq!(documented, paths);
}

#[test]
fn every_answer_is_described_and_every_reference_leads_somewhere() {
    let document = openapi();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let description = response["description"].as_str().unwrap_or_default();
                assert!(!description.is_empty(), "{method} {path}, status {status}");
            }
        }
    }
    references(&document, &mut |reference| {
        assert!(resolve(&document, reference).is_some(), "{reference}");
    });
}

/// Shows every `$ref` of a document.
fn references(value: &Value, show: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                show(reference);
            }
            fields.values().for_each(|field| references(field, show));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, show)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

const METRICS: &str = "\
# Metrics

Made from the code by the tests of `egret-daemon`; do not edit. After a change of the metrics,
`EGRET_BLESS=1 cargo test -p egret-daemon --test main documents` writes it anew.

`egretd` serves its metrics in the Prometheus text format under `/metrics`, on the API's unix socket
(`egret metrics` prints them) and, if the configuration says `metrics.listen`, over TCP. That
address serves nothing else but `/healthz`, which answers as long as the daemon lives, and
`/readyz`, which answers 200 if the packet path hangs on every interface of the configuration.

They are read from the kernel's tables at the moment of a scrape. What counts packets and flows by
pool and by reason is in the kernel, and goes on when the daemon restarts; what says *since the
daemon started* begins at zero then. No metric has a label for a flow, a client or a remote: their
number does not grow with traffic.

| question | expression |
|---|---|
| New flows each second | `sum(rate(egret_pool_flows_opened_total[1m]))` |
| Packets each second, by direction | `sum by (direction) (rate(egret_pool_packets_total[1m]))` |
| Bits each second, by pool | `8 * sum by (pool) (rate(egret_pool_bytes_total[1m]))` |
| Dropped packets each second, by reason | `rate(egret_exit_packets_total{verdict=\"drop\"}[5m]) > 0` |
| Addresses of whose ports less than a tenth are left | `egret_ports_free / (egret_ports_used + egret_ports_free) < 0.1` |
| How full the tables are | `egret_table_entries / egret_table_entries_max` |
| Interfaces that are not listened on | `egret_interface_attached == 0` |
| A reload that changed nothing, because it failed | `egret_config_last_reload_successful == 0` |

What each reason means is in [drops.md](drops.md).

| metric | type | unit | labels | meaning |
|---|---|---|---|---|
";

fn metrics() -> String {
    let mut manual = METRICS.to_owned();
    for facts in daemon::metrics::ALL {
        let labels: Vec<String> = facts
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        manual += &format!(
            "| `{}` | {} | {} | {} | {} |\n",
            facts.name,
            facts.kind.label(),
            facts.unit.label(),
            labels.join(", "),
            facts.help
        );
    }
    manual
}

const DROPS: &str = "\
# Why packets leave the packet path

Made from the code by the tests of `egret-daemon`; do not edit. After a change of the reasons,
`EGRET_BLESS=1 cargo test -p egret-daemon --test main documents` writes it anew.

Every packet that an interface shows to the gateway leaves the packet path for exactly one of these
reasons, and is counted under it, for each CPU, in the kernel. `egret drops` shows those that end a
packet, `egret counters` all of them, and the metrics `egret_exit_packets_total` and
`egret_exit_bytes_total` have the reason as a label.
";

fn drops() -> String {
    let mut manual = DROPS.to_owned();
    for (verdict, title) in [
        (Verdict::Drop, "Dropped: the packet ends here"),
        (Verdict::Pass, "Passed: the kernel gets the packet"),
        (Verdict::Send, "Sent: the packet, or an answer to it"),
    ] {
        manual += &format!("\n## {title}\n\n| reason | meaning |\n|---|---|\n");
        for reason in Reason::ALL
            .iter()
            .filter(|reason| reason.verdict() == verdict)
        {
            manual += &format!("| `{}` | {} |\n", reason.label(), reason.help());
        }
    }
    manual
}
