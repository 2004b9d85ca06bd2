//! Gateways of a cluster die, come back, lose sight of each other and are replaced one after the other, and
//! whoever talks through them notices nothing but a short wait.
//!
//! `EGRET_FULL` (`cargo xtask e2e failover --full`) runs it in the size that is promised; `EGRET_TCP` and
//! `EGRET_UDP` say how many flows there are, and `EGRET_TIMES` how often a gateway is killed.

mod killed;
mod parted;
mod replaced;
mod rolled;
mod run;
