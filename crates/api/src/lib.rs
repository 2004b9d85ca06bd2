//! What people and gateways say to each other: the configuration, what is wrong with it, and the
//! bodies of the daemon's HTTP API.
//!
//! Shapes only: strings, numbers, lists and what they are called. What a value *means* (which
//! addresses a prefix holds, whether a duration is too short) is `gateway::intent`'s to say, so
//! that nobody who only speaks to a gateway links its decisions.
//!
//! - [`config`]: what an operator writes.
//! - [`problem`]: what the gateway answers when that cannot be done, the same in a terminal, a log
//!   and a response body.
//! - [`http`]: what the daemon's socket serves.
#![forbid(unsafe_code)]

pub mod config;
pub mod http;
pub mod problem;

pub use config::Config;
pub use problem::{Problem, Problems, Severity};
