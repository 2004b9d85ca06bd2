//! The BFD session as a machine (RFC 5880): packets, timers, states.
//!
//! Knows packets and time. Does not know sockets, BGP, or what a gateway does when a peer is lost.
