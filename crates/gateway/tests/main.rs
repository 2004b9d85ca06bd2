//! What the gateway's public doors promise.

mod config;
