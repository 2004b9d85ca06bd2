//! The machine, one event at a time.
