//! The state directory: of another version, of another size.

use std::fs;

use anyhow::Result;
use e2e::harness::Gateway;

use crate::{POLICY, launched, seen, site};

#[test]
fn tables_of_another_layout_are_refused_and_left_alone() -> Result<()> {
    let site = site("layout")?;
    let gateway = Gateway::prepare(site.host("gw")?, POLICY)?;
    let other = gateway.state().join("layout-999");
    fs::create_dir_all(other.join("maps"))?;

    let output = gateway.run_egretd(&[])?;

    let complaint = String::from_utf8_lossy(&output.stderr);
    println!("{}", complaint.trim());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaint.contains("holds the tables of layout 999"),
        "{complaint}"
    );
    assert!(
        complaint.contains("They are left as they are"),
        "{complaint}"
    );
    assert!(complaint.contains("egretd --uninstall"), "{complaint}");
    assert!(other.join("maps").is_dir());
    assert_eq!(
        fs::read_dir(gateway.state())?.count(),
        1,
        "something was made beside it"
    );
    let links = site
        .host("gw")?
        .succeed("ip", ["-details", "link", "show"])?;
    assert!(!links.contains("xdp"), "{links}");

    gateway.uninstall()?;
    assert!(!gateway.state().exists());
    gateway.finish()
}

/// The tables keep their size, because another size would mean another table, without the flows.
#[test]
fn another_limit_is_noted_and_no_flow_is_given_up_for_it() -> Result<()> {
    let limited = |flows: u32| format!("{POLICY}limits: {{flows: {flows}}}\n");
    let (site, mut gateway) = launched("limits", &limited(4096))?;
    let pod = site.host("a1")?;
    seen(pod)?;
    let flows = gateway.all_flows()?.flows;
    let status = gateway.status()?;
    assert_eq!(status.flows.max, 4096);
    assert_eq!(status.notes, [""; 0]);

    let applied = gateway.apply(&limited(8192))?;
    assert!(
        applied.changes.iter().any(|it| it.contains("limits.flows")),
        "{applied:?}"
    );
    gateway.write_policy(&limited(8192))?;
    gateway.restart()?;

    let status = gateway.status()?;
    assert_eq!(status.flows.max, 4096);
    let notes = status.notes.join("\n");
    println!("{notes}");
    assert!(notes.contains("4096") && notes.contains("8192"), "{notes}");
    assert!(notes.contains("--uninstall"), "{notes}");
    let kept = gateway.all_flows()?.flows;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].external, flows[0].external);

    gateway.stop()?;
    gateway.uninstall()?;
    gateway.start()?;
    let status = gateway.status()?;
    assert_eq!((status.flows.max, status.flows.active), (8192, 0));
    assert_eq!(status.notes, [""; 0]);
    gateway.finish()
}
