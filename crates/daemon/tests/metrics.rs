//! The metrics of a real daemon.

use api::http::path;
use daemon::metrics::{ALL, CONTENT_TYPE};

use crate::rig::{
    CONFIG, Gateway, Request,
    entries::{self, Entry},
    prometheus::{self, Metric},
};

fn scrape(gateway: &Gateway) -> Vec<Metric> {
    let answer = Request::get(path::METRICS).ask_tcp(gateway.metrics);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), CONTENT_TYPE);
    prometheus::read(answer.text())
}

#[track_caller]
fn value(metrics: &[Metric], name: &str, labels: &[(&str, &str)]) -> f64 {
    let metric = metrics.iter().find(|metric| metric.name == name);
    metric
        .unwrap_or_else(|| panic!("there is no {name}"))
        .value(labels)
}

#[test]
fn a_scrape_has_every_metric_of_the_list() {
    let gateway = Gateway::start();

    let names: Vec<_> = scrape(&gateway)
        .into_iter()
        .map(|metric| metric.name)
        .collect();

    assert_eq!(
        names,
        ALL.iter().map(|facts| facts.name).collect::<Vec<_>>()
    );
}

#[test]
fn a_scrape_says_what_the_tables_hold() {
    let gateway = Gateway::start();
    let flow = |number: u16| {
        let port = 2000 + number;
        let (client, external) = (format!("10.1.0.7:{port}"), format!("192.0.2.10:{port}"));
        Entry::tcp(&client, &external, "198.51.100.9:443")
    };
    let flows: Vec<_> = (0..100).map(flow).collect();
    entries::write(&gateway.tables, &flows);
    gateway.await_status(|status| status.flows.active == 100);

    let metrics = scrape(&gateway);

    let value = |name, labels: &[(&str, &str)]| value(&metrics, name, labels);
    let port = [
        ("pool", "team-a"),
        ("address", "192.0.2.10"),
        ("protocol", "tcp"),
    ];
    assert_eq!(value("egret_ports_used", &port), 100.0);
    assert_eq!(value("egret_ports_free", &port), 64412.0);
    assert_eq!(
        value(
            "egret_flows",
            &[("protocol", "tcp"), ("state", "established")]
        ),
        100.0
    );
    assert_eq!(value("egret_pool_flows", &[("pool", "team-a")]), 100.0);
    assert_eq!(value("egret_table_entries", &[("table", "flows")]), 200.0);
    assert_eq!(
        value("egret_table_entries_max", &[("table", "flows")]),
        131_072.0
    );
    // A mapping stands under both of its ends.
    assert_eq!(
        value("egret_table_entries", &[("table", "mappings")]),
        200.0
    );
    assert!(value("egret_table_entries", &[("table", "classes")]) > 0.0);
    let missing = [
        ("interface", "egret-test-in"),
        ("realm", "internal"),
        ("mode", "none"),
    ];
    assert_eq!(value("egret_interface_attached", &missing), 0.0);
}

#[test]
fn a_reload_that_failed_is_seen_until_one_succeeds() {
    let gateway = Gateway::start();
    let successful = || {
        value(
            &scrape(&gateway),
            "egret_config_last_reload_successful",
            &[],
        )
    };
    assert_eq!(successful(), 1.0);

    std::fs::write(gateway.file(), "rules: 7\n").unwrap();
    gateway.reload();
    assert_eq!(successful(), 0.0);

    std::fs::write(gateway.file(), gateway.config(CONFIG)).unwrap();
    gateway.reload();
    assert_eq!(successful(), 1.0);
}

#[test]
fn the_metrics_address_serves_no_api() {
    let gateway = Gateway::start();
    let ask = |path| Request::get(path).ask_tcp(gateway.metrics).status;

    assert_eq!(ask(path::HEALTHY), 200);
    assert_eq!(ask(path::READY), 503);
    for path in [path::STATUS, path::FLOWS, path::CONFIG, path::OPENAPI, "/"] {
        assert_eq!(ask(path), 404, "{path}");
    }
    let change = Request::post(path::CONFIG, "{}").ask_tcp(gateway.metrics);
    assert_eq!(change.status, 404);
}
