//! Twins: the kernel's program and the native build take the same frames and agree, in verdict, in
//! every byte, in every counter, and in the tables they leave behind.
//!
//! The kernel's twin stands in a network namespace whose routes and neighbours answer as the native
//! one's function does. What may differ is time, and the kernel's numbers for interfaces.

#[path = "../../../datapath/tests/rig/mod.rs"]
#[expect(dead_code, reason = "the rig has more than twins need")]
mod rig;

mod cost;
mod frames;
mod place;
mod twins;

use std::collections::BTreeSet;

use abi::{Interface, Protocol, Realm, Reason, Side};
use anyhow::Result;
use datapath::native::Frame;
use frames::Frames;
use gateway::intent::Intent;
use rig::{
    Site, Sketch,
    site::{INSIDE, OUTSIDE, from_pool, intent, own_mac, pool, rule, tuple, usual},
};
use twins::{Agreed, Twins};

/// What both twins go through.
struct Play {
    /// Names the namespace.
    name: &'static str,
    /// The policy in force.
    intent: Intent,
    /// Flows that fit; more are asked for, so that full tables are met too.
    flows: usize,
    /// Frames that both take.
    frames: u32,
    /// Makes natively what the tables hold beside the policy, before it is copied, and says which
    /// frames are met among the first.
    prepare: fn(&Site) -> Vec<Frame>,
    /// What spoils the kernel's seed.
    spoil: u64,
}

/// Every kind of frame under the policy that the laws are tried with.
fn usual_play() -> Play {
    Play {
        name: "twin",
        intent: usual(),
        flows: 2048,
        frames: 60_000,
        prepare: |_| Vec::new(),
        spoil: 0,
    }
}

/// Ports that run out, a pool without addresses, an interface without one, half a flow.
fn scarce_play() -> Play {
    let mut scarce = intent(
        vec![
            pool("web", [1], (2000, 2019)),
            pool("bank", [9], (1024, 65535)),
        ],
        vec![
            rule("10.7.0.0/16", "0.0.0.0/0", from_pool("bank")),
            rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web")),
        ],
    );
    scarce.pools[1].addresses.clear();
    Play {
        name: "twin-scarce",
        intent: scarce,
        flows: 1024,
        frames: 20_000,
        prepare: |site| {
            let entry = Interface::new(None, own_mac(OUTSIDE), Realm::External);
            site.memory.interfaces.put(OUTSIDE, entry);
            halve_flows(site)
        },
        spoil: 0,
    }
}

/// The kernel program is loaded, and nobody has said what to do.
fn silent_play() -> Play {
    Play {
        name: "twin-silent",
        intent: usual(),
        flows: 1024,
        frames: 2_000,
        prepare: |site| {
            let mut config = **site.memory.config.borrow();
            config.version = 0;
            *site.memory.config.borrow_mut() = std::rc::Rc::new(config);
            Vec::new()
        },
        spoil: 0,
    }
}

/// Leaves of some flows only the half that comes in, as another CPU might have made it just now;
/// returns what they began with.
fn halve_flows(site: &Site) -> Vec<Frame> {
    let mut first = Vec::new();
    for port in 4000..4004 {
        for target in 4..16 {
            let asked = tuple(([10, 1, 0, 1], port), ([198, 51, 100, target], 440));
            let sketch = Sketch {
                ingress: INSIDE,
                to: own_mac(INSIDE),
                ..Sketch::first(Protocol::Udp, asked)
            };
            site.send(INSIDE, &sketch);
            first.push(sketch.frame());
        }
    }
    for (key, flow) in site.memory.flows.all() {
        if flow.side() == Side::Outbound {
            site.memory.flows.remove(&key);
        }
    }
    first
}

fn play(play: &Play) -> Result<Agreed> {
    place::stand(play.name, |state| {
        let site = Site::new(play.intent.clone(), play.flows);
        let frames = Frames::after((play.prepare)(&site));
        Twins::new(state, site, play.flows, play.spoil)?.agree(frames, play.frames)
    })
}

#[test]
fn the_kernel_program_and_the_native_build_agree_whatever_a_packet_leaves_for() {
    let mut met = BTreeSet::new();
    for scene in [usual_play(), scarce_play(), silent_play()] {
        let agreed = play(&scene).expect("the twins agree");
        let (name, frames, flows) = (scene.name, scene.frames, agreed.flows);
        println!(
            "{name}: {frames} frames agree, {flows} flows, {} reasons",
            agreed.reasons.len()
        );
        met.extend(agreed.reasons);
    }

    let missed: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !met.contains(reason))
        .collect();
    assert_eq!(
        missed,
        [&Reason::Internal],
        "only a defect of ours is never met"
    );
}

/// What is printed here, `cargo xtask kernels` shows of every kernel.
#[test]
fn every_program_is_loaded() {
    let programs = place::stand("twin-load", |state| {
        let twins = Twins::new(state, Site::new(usual(), 1024), 1024, 0)?;
        let programs = twins.program.all();
        Ok(programs
            .map(|(name, verified)| (name.to_owned(), verified))
            .collect::<Vec<_>>())
    })
    .expect("loaded");

    assert!(!programs.is_empty(), "the object has a program");
    for (name, verified) in programs {
        let verified = verified.unwrap_or_else(|| panic!("{name} is not loaded"));
        println!("program {name}: {verified} instructions verified");
    }
}

#[test]
fn a_difference_between_the_twins_is_found() {
    let spoilt = Play {
        name: "twin-other",
        spoil: 1,
        ..usual_play()
    };

    let error = match play(&spoilt) {
        Ok(_) => panic!("another seed gives other ports"),
        Err(error) => format!("{error:#}"),
    };

    assert!(error.contains("bytes differ"), "{error}");
}

/// Not asserted: what a packet costs here depends on the machine and on its neighbours.
#[test]
fn what_a_packet_of_an_established_flow_costs() {
    let costs = place::stand("twin-cost", |state| {
        Twins::new(state, Site::new(usual(), 1024), 1024, 0)?.costs()
    });

    println!("{}", costs.expect("measured"));
}
