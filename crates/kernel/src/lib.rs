//! The Linux kernel from above: load, attach and pin the packet path, read and write its tables,
//! watch interfaces and routes.
//!
//! It executes and observes. It does not know why: what is attached where and what stands in which
//! table is decided in `egret-gateway`. It does not know `egret-ebpf` either: it embeds the object
//! that `cargo xtask ebpf` built, and the contract between the two is `egret-abi`.
//!
//! Everything lives under one directory of a BPF file system, the *state*:
//!
//! ```text
//! STATE/layout-1/maps/FLOWS …      the tables, one pin each
//! STATE/layout-1/links/4-native …  one pin for each interface the program is attached to
//! ```
//!
//! Pins outlive the process: packets flow while no daemon runs, and the next one finds its tables.

pub mod datagrams;
pub mod events;
pub mod held;
pub mod links;
pub mod netlink;
pub mod probe;
pub mod programs;
pub mod routers;
pub mod state;
pub mod sysctl;
pub mod tables;
pub mod tcp;

mod sys;

pub use events::Events;
pub use links::{AttachError, Attached, Mode};
pub use programs::{LoadError, Program, Sizes};
pub use state::{State, StateError};
pub use tables::{Tables, now};
