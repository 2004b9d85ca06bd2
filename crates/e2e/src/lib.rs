//! What the end-to-end tests and the demo share: a real gateway in a lab, and how to talk to it.
//!
//! The tests themselves are the suites in `tests/`, one file each, run by `cargo xtask e2e NAME`.
//! They need root, because they load BPF programs and make network namespaces, and they run the
//! programs that were built, `egretd` and `egret`, exactly as an operator does.
//!
//! - [`harness`]: the gateway under test.
//! - [`wire`]: single packets at the gateway's very edge.
//! - [`leaks`]: packets that got past it untranslated.
//! - [`demo`]: what `cargo xtask demo` shows, and asserts with `--once`.
//! - [`bench`]: what `cargo xtask bench` measures.

pub mod bench;
pub mod demo;
pub mod harness;
pub mod leaks;
pub mod wire;
