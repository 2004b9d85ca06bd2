//! The gateway under test: `egretd` in a lab's gateway host, started, asked, killed and removed.
//!
//! ```no_run
//! use e2e::harness::Gateway;
//! use lab::{Target, Topology};
//!
//! # fn main() -> anyhow::Result<()> {
//! let site = Topology::two_arm("example")
//!     .pods("10.1.0.0/24", ["a1"])
//!     .gateway("gw")
//!     .target(Target::guarded("db").http(80))
//!     .external(["192.0.2.10"])
//!     .build()?;
//! let mut gateway = Gateway::launch(
//!     site.host("gw")?,
//!     "
//! pools:
//!   - {name: team-a, addresses: [192.0.2.10]}
//! rules:
//!   - {name: out, sources: [10.1.0.0/24], pool: team-a}
//! ",
//! )?;
//!
//! let db = site.host("db")?.address()?;
//! assert!(site.host("a1")?.curl(&format!("http://{db}/"))?.starts_with("192.0.2.10:"));
//! assert_eq!(gateway.all_flows()?.total, 1);
//!
//! gateway.kill()?; // SIGKILL; packets go on
//! gateway.start()?; // returns when it serves again
//! gateway.finish() // removes everything and checks that it is gone
//! # }
//! ```
//!
//! **Configurations** are written without `interfaces`, `api` and `state`: what the lab decides is
//! added by the harness. Tests write the rest, the policy.
//!
//! **Failures**: a gateway that is dropped without [`Gateway::finish`] belongs to a test that
//! failed, so its log and counters are printed. Whatever the test did, the gateway is gone afterwards.

mod ask;
mod files;
mod gateway;
pub mod herd;
mod http;
pub mod load;
pub mod members;
mod notify;
mod programs;
mod wait;
pub mod witness;

pub use gateway::{Gateway, READY_LIMIT};
pub use http::{Answer, HttpClient};
pub use programs::program;
pub use wait::wait_for;
