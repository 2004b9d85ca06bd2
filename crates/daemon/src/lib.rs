//! `egretd`: runs one gateway on a real kernel, real time and real sockets.
//!
//! Thin: it turns what happens into events, hands them to [`gateway::Gateway`], and turns the actions
//! that come back into system calls. It knows no Kubernetes, and it decides nothing.
//!
//! ```text
//! SIGHUP, API ─┐                                   ┌─ world: maps, links, sysctls
//! netlink ─────┼─► driver ─► Gateway::handle ──────┤
//! every second ┘      ▲            │ View          └─ systemd
//!   sweeper ──────────┘            ▼            sessions: files, syslog, IPFIX
//!                                               holding: fragments that came too early
//!                            http, metrics (read View and the maps)
//! ```
//!
//! The datapath does not need it: programs, maps and links are pinned. When the daemon is killed,
//! packets go on; the next one takes over what it finds.

pub mod alarms;
pub mod answers;
pub mod capabilities;
pub mod config_file;
pub mod driver;
pub mod holding;
pub mod http;
pub mod member;
pub mod metrics;
pub mod options;
pub mod quotas;
mod refused;
pub mod replication;
pub mod routing;
pub mod sessions;
pub mod sweeper;
pub mod systemd;
pub mod view;
pub mod ways;
pub mod world;
