//! The lab itself, on the machine it runs on. Needs root.

mod command;
mod life;
mod sites;
mod tools;

use std::path::Path;

use lab::{Target, Topology};

/// A name that no other test, and no other run of this one, uses.
fn name(test: &str) -> String {
    format!("t{}-{test}", std::process::id())
}

/// The addresses that guarded targets let in.
const EXTERNAL: [&str; 2] = ["192.0.2.10", "192.0.2.11"];

fn demo(topology: Topology) -> Topology {
    topology
        .pods("10.1.0.0/24", ["a1", "a2"])
        .gateway("gw")
        .target(Target::guarded("db").http(80).datagrams(53))
        .target(Target::open("api").http(80).datagrams(53).stream(9000))
        .external(EXTERNAL)
}

/// Says what is left of a site, by the names the lab gives.
fn remains(site: &str) -> Vec<String> {
    let names = |directory: &str| -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path().display().to_string())
            .collect()
    };
    let namespaces = names("/run/netns")
        .into_iter()
        .filter(|it| it.contains(&format!("egret-{site}-")));
    let state = names(lab::ROOT).into_iter().filter(|it| {
        let file = Path::new(it).file_stem().unwrap_or_default();
        file == site
    });
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = mounts
        .lines()
        .filter(|line| line.contains(&format!("{}/{site}/", lab::ROOT)));
    namespaces
        .chain(state)
        .chain(mounts.map(str::to_owned))
        .collect()
}
