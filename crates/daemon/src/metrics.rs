//! The metrics: each declared once, with its unit, its labels as types, and one sentence.
//!
//! [`list`] declares them, [`readings`] reads what they say from the tables at the moment of a
//! scrape, and [`page`] says it in the Prometheus text format, of which [`text`] knows the grammar.
//! Nothing is counted here, so nothing is lost when the daemon restarts: what counts packets is in
//! the kernel.
//!
//! No metric has a label whose values grow with traffic: there is none for a flow, a client or a
//! remote.

pub mod label;
pub mod list;
pub mod page;
pub mod readings;
pub mod text;

pub use list::ALL;
pub use page::page;
pub use readings::Readings;

/// What [`page`] is, for who scrapes it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
