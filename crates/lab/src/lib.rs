//! A whole site on one machine: pods, gateways, routers and targets, each in a network namespace.
//!
//! The demo, the end-to-end tests, the benchmarks and `cargo xtask lab` all stand on it. It knows
//! nothing of Egret's own programs: a gateway here is a host with a run directory and a bpffs, and
//! what runs on it is the caller's business.
//!
//! ```no_run
//! use lab::{Target, Topology};
//!
//! let site = Topology::two_arm("demo")
//!     .pods("10.1.0.0/24", ["a1", "a2"])
//!     .gateway("gw")
//!     .target(Target::guarded("db").http(80))
//!     .external(["192.0.2.10", "192.0.2.11"])
//!     .build()?;
//! let refused = site.host("a1")?.curl("http://198.51.100.11/");
//! # Ok::<(), lab::Error>(())
//! ```
//!
//! How a site comes to be, which is also the order to read the modules in:
//!
//! ```text
//! Topology | Direct ─► Plan ─► Site::build: sweep the dead, claim the name (state), namespaces and
//!   (shapes)          (data)   links (tool), addresses, ACLs and services inside each ─► Host
//! ```
//!
//! Cleaning up never depends on the builder being alive: what a site makes is written to its state
//! file before it is made, and whoever comes next removes what a dead builder left (`state`).
//!
//! `unsafe` is confined to three files, each for what nothing wraps: `process` (code between fork
//! and exec), `packet_socket` (`AF_PACKET`) and `pass` (bpf(2)).

#![deny(unsafe_code)]

mod direct;
mod mirror;
mod plan;
mod prefix;
mod topology;

mod detached;
mod raise;
mod site;
mod state;

mod acl;
mod host;
mod namespace;
mod pass;
mod process;
mod tool;

mod router;
mod service;
mod transfer;

mod capture;
mod frame;
mod generator;
mod injector;
mod packet_socket;
mod sink;

mod error;
mod wait;

pub use acl::{Acl, Admissions, Refusal};
pub use capture::Capture;
pub use detached::{ListedHost, Listing, Owner, down, list, serve, sweep, up};
pub use direct::Direct;
pub use error::Error;
pub use frame::{Frame, Transport, verify_checksums};
pub use generator::{Flows, Generator, Sent};
pub use host::{Answer, Host, InterfaceCounters};
pub use injector::Injector;
pub use mirror::mirror;
pub use nix::sys::signal::Signal;
pub use plan::{HostPlan, Plan, Role};
pub use prefix::Prefix;
pub use process::Process;
pub use router::{Brand, Neighbour, Path as RoutePath, Router, RouterPlan, Session};
pub use service::Service;
pub use sink::{FlowSink, Replies};
pub use site::Site;
pub use state::ROOT;
pub use tool::PACKAGES;
pub use topology::{Target, Topology};
pub use transfer::{Direction, Received, Transfer};
pub use wait::until;
