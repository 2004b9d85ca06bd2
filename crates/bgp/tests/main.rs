//! Sessions between two speakers.

mod network;
mod sessions;
