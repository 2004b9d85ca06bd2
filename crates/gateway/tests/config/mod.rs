//! The door for configurations, `gateway::intent`.

mod examples;
mod laws;
mod malformed;
