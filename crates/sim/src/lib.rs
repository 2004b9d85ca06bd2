//! A site with several gateways, simulated: whatever goes wrong, in whatever order, and again exactly so.
//!
//! One thread, virtual time, and a seed that everything is drawn from. The gateways are the real ones: the packet
//! path over tables in plain memory, the machine that puts configurations in force, sweeps, BFD, and the machine
//! that decides who holds which flows. What is simulated is what is around them, and what breaks.
//!
//! ```text
//!  clients ◄─► router ◄─►  gw0   gw1   gw2  ◄─► router ◄─► servers        each packet carries the number of its
//!  (hosts)    (router)      │ ╲  ╱ │ ╲  ╱ │    (router)     (hosts)       connection: who gets another's sees it
//!                           └──network────┘
//!                            stream: bytes between two members, for what copies flows
//!
//!  seed ─► plan: gateways, clocks, links, faults ─► run ─┬─► report: what there was, and a digest of it
//!                                                  laws ─┴─► broken: which law, by what, and what was before
//!
//!  one gateway (member):  datapath over tables ◄── gateway::Gateway, gateway::Sweep
//!                                      ▲
//!                                      ├── gateway::cluster ◄── bfd::Sessions
//!                                      └── gateway::copies::Exchange ◄─► streams    (in most runs)
//! ```
//!
//! **A law is demanded of whoever has no excuse.** Drains, upgrades and configurations excuse nobody. Whoever's
//! gateway dies is excused, and whoever begins before the others can know of it; everybody else must go on as if
//! nothing had been. What is not true yet is a switch in [`Laws`].
//!
//! `cargo xtask sim` runs seeds until it is told to stop; `cargo xtask sim --seed N` runs one again.
#![forbid(unsafe_code)]

pub mod clock;
pub mod copies;
pub mod faults;
pub mod frame;
pub mod hosts;
pub mod laws;
pub mod member;
pub mod network;
pub mod plan;
pub mod planted;
pub mod random;
pub mod router;
pub mod run;
pub mod shelves;
pub mod site;
pub mod stream;
pub mod tables;
pub mod trace;
pub mod ways;

pub use laws::{Broken, Law, Laws};
pub use plan::{Plan, Profile};
pub use planted::Planted;
pub use run::{Order, Report, Run, run};
