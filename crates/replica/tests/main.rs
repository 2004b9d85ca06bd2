//! Frames as bytes, a stream between two machines in virtual time, and one machine that hears anything.

mod any;
mod codec;
mod greetings;
mod laws;
mod network;
mod overload;
mod stories;
