//! Sessions between two machines, in virtual time.

mod laws;
mod network;
mod stories;
