//! What one gateway decides: what was asked for, which tables say so, which flows have ended.
//!
//! Pure: no sockets, no clock, no maps. The daemon turns what happens in the world into an
//! [`Event`](machine::Event), and what is decided here, an [`Action`](machine::Action), into system
//! calls; tests do the same with plain memory.
//!
//! The journey of a wish, in the order of the modules:
//!
//! ```text
//! YAML ─► intent (all problems at once) ─► Intent ─┐
//! interfaces, routes, what maps hold ──────────────┤
//!                                                  ▼
//!            Gateway::handle(event): numbers ─► slots ─► policy, mappings ─► Actions
//!
//! fragments that came too early ─► fragments ─► the same, behind the first one of their packet
//!
//! every second: the tables ─► sweep ─► flows that ended, ports that are free, what to show
//!                                ├─► bitmaps, hold: freed ports go behind all others
//!                                └─► quota: whether what is counted is what there is
//! ```
#![forbid(unsafe_code)]

pub mod bitmaps;
pub mod changes;
pub mod cluster;
pub mod copies;
pub mod fixed;
pub mod fragments;
pub mod hold;
pub mod intent;
pub mod machine;
pub mod mappings;
pub mod numbers;
pub mod patience;
pub mod policy;
pub mod quota;
pub mod routing;
pub mod slots;
pub mod sweep;

pub use bitmaps::Bitmaps;
pub use fragments::Holder;
pub use machine::{Action, Attachment, Event, Found, Gateway, Link, Refusal};
pub use patience::Patience;
pub use sweep::{Sweep, Swept};
