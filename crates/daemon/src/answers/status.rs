//! How the daemon is, in one body.

use api::http::{ActiveFlows, ByProtocol, ByState, ConfigStatus, Status, Sweep};
use gateway::sweep::FlowState;
use jiff::Timestamp;
use kernel::Tables;

use crate::view::{ConfigView, SweepView, View};

use super::words;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, if whoever built it said so.
pub const BUILD: Option<&str> = option_env!("EGRET_BUILD");

/// How the daemon is at this moment.
pub fn status(tables: &Tables, view: &View) -> Status {
    let uptime = Timestamp::now().duration_since(view.started);
    Status {
        version: VERSION.to_owned(),
        build: BUILD.map(str::to_owned),
        pid: std::process::id(),
        started_at: seconds(view.started).to_string(),
        // Somebody may have set the clock back.
        uptime_seconds: uptime.as_secs().try_into().unwrap_or_default(),
        adopted: view.adopted,
        config: config(&view.config),
        interfaces: view.interfaces.clone(),
        flows: active_flows(&view.sweep, tables),
        pools: count(view.intent.pools.len()),
        rules: count(view.intent.rules.len()),
        sweep: sweep(&view.sweep),
        program: view.program.clone(),
        notes: view.notes.clone(),
    }
}

fn config(config: &ConfigView) -> ConfigStatus {
    ConfigStatus {
        source: config.source.clone(),
        loaded_at: seconds(config.loaded_at).to_string(),
        digest: config.digest.clone(),
        saved: config.saved,
        last_error: config.last_error.clone(),
    }
}

fn active_flows(sweep: &SweepView, tables: &Tables) -> ActiveFlows {
    // Each has an entry for each direction.
    let fit = |entries: u32| u64::from(entries / 2);
    let (mut by_protocol, mut by_state) = (ByProtocol::default(), ByState::default());
    for ((protocol, state), flows) in &sweep.last.flows {
        *by_protocol.of_mut(words::protocol(*protocol)) += flows;
        *match state {
            FlowState::Opening => &mut by_state.opening,
            FlowState::Established => &mut by_state.established,
            FlowState::Closing => &mut by_state.closing,
            FlowState::Active => &mut by_state.active,
        } += flows;
    }
    ActiveFlows {
        active: sweep.last.flows.values().sum(),
        max: fit(tables.flows.max()),
        active6: sweep.last.wide.flows,
        max6: fit(tables.flows6.max()),
        by_protocol,
        by_state,
    }
}

fn sweep(sweep: &SweepView) -> Sweep {
    Sweep {
        passes_total: sweep.passes,
        expired_total: sweep.expired,
        last_duration_seconds: sweep.duration.map(|duration| duration.as_secs_f64()),
        lag_seconds: std::time::Duration::from_nanos(sweep.last.lag).as_secs_f64(),
    }
}

/// A time without what nobody reads.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Pools and rules are limited far below.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
