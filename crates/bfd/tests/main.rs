//! Sessions between two machines, in virtual time.

mod any;
mod laws;
mod network;
mod stories;
