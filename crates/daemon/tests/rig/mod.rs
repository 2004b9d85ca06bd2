//! What the tests stand on: a daemon, a client that is not our code, and two strict readers.

pub mod client;
pub mod entries;
pub mod gateway;
pub mod prometheus;
pub mod schema;

pub use client::{Answer, Request};
pub use gateway::{CONFIG, Gateway};
