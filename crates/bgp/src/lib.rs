//! The BGP-4 speaker as a machine: messages, sessions, what is announced.
//!
//! Knows messages and time. Does not know sockets, BFD, or what a gateway does when a peer is lost.
