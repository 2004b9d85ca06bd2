//! The daemon from outside: what it serves, and what the manual says of that.
//!
//! All but `documents` and `page` start a real `egretd` over tables of its own in the kernel, and
//! need root. No packet is sent here and no interface touched: flows are written into the tables as
//! the packet path would.

mod documents;
mod page;
mod rig;

mod changes;
mod flows;
mod mappings;
mod metrics;
mod paths;
mod pools;
mod requests;
