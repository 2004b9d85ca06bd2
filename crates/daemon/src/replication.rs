//! Flows that are copied from one member of a cluster to another.

pub mod tls;
