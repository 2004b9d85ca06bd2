//! Messages as bytes, sessions between two speakers, and one speaker to whom anything happens.

mod any;
mod codec;
mod laws;
mod limits;
mod malformed;
mod network;
mod sessions;
