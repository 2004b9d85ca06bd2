//! What the metrics say at one moment, read from the tables and the driver's picture.

use std::sync::Arc;

use abi::{Counter, Protocol, Reason, Told, map};
use api::http::{Bfd, Bgp, ByProtocol, Cluster, Pools};
use kernel::Tables;

use crate::{
    answers::{ReadError, exits, of, pools, words},
    view::View,
};

/// Everything that one page says.
#[derive(Clone, Debug)]
pub struct Readings {
    /// The driver's picture.
    pub view: Arc<View>,
    /// Ports and traffic.
    pub pools: Pools,
    /// Flows removed, by the name of their pool.
    pub expired: Vec<(String, ByProtocol<u64>)>,
    /// Flows at present, by the name of their pool.
    pub active: Vec<(String, u64)>,
    /// What rules have at present, by name.
    pub rules: Vec<RuleUse>,
    /// How clients were told of refusals.
    pub told: Vec<(Told, u64)>,
    /// What became of every packet.
    pub exits: Vec<(Reason, Counter)>,
    /// How full the tables are.
    pub fills: Vec<Fill>,
    /// Flows whose beginning the session log was not told.
    pub events_lost: u64,
    /// What routers are told.
    pub bgp: Bgp,
    /// Which ways are watched.
    pub bfd: Bfd,
    /// The other members, and what is copied between them.
    pub cluster: Cluster,
}

/// What a rule has at present.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleUse {
    /// Its name.
    pub name: String,
    /// Flows.
    pub flows: u64,
    /// External ports.
    pub ports: u64,
    /// Packets that its quota refused.
    pub refused: u64,
}

/// How full a table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// Which.
    pub table: &'static str,
    /// Entries that it holds.
    pub entries: u64,
    /// Entries that it has room for.
    pub max: u32,
}

impl Readings {
    /// Reads all of it.
    ///
    /// # Errors
    ///
    /// If a table cannot be read.
    pub fn read(
        tables: &Tables,
        view: Arc<View>,
        (bgp, bfd, cluster): (Bgp, Bfd, Cluster),
    ) -> Result<Self, ReadError> {
        let pools = pools::pools(tables, &view)?;
        let (mut expired, mut active) = (Vec::new(), Vec::new());
        for (name, number, _) in pools::numbered(&view) {
            let removed = of(map::REMOVED, tables.removed.get(&number.into()))?;
            let removed = words::by_protocol(removed.unwrap_or_default());
            expired.push((name.to_owned(), removed));
            let flows = view.sweep.last.by_pool.get(&number).copied();
            active.push((name.to_owned(), flows.unwrap_or_default()));
        }
        Ok(Self {
            bgp,
            bfd,
            cluster,
            expired,
            active,
            rules: rules(tables, &view),
            told: told(tables)?,
            exits: exits::counted(tables)?,
            fills: fills(tables, &view)?,
            events_lost: of(map::EVENTS_LOST, tables.events_lost.get(0))?
                .into_iter()
                .sum(),
            pools,
            view,
        })
    }
}

/// The rules that have numbers.
fn rules(tables: &Tables, view: &View) -> Vec<RuleUse> {
    let by_rule = &view.sweep.last.by_rule;
    let rule = |(name, number): (&String, &u16)| {
        let has = by_rule.get(number).copied().unwrap_or_default();
        RuleUse {
            name: name.clone(),
            flows: has.flows.unsigned_abs(),
            ports: has.ports.unsigned_abs(),
            refused: tables.uses.at(u32::from(*number)).refused.get(),
        }
    };
    view.numbers.rules.iter().map(rule).collect()
}

fn told(tables: &Tables) -> Result<Vec<(Told, u64)>, ReadError> {
    let all = Told::ALL.into_iter().map(|told| {
        let counts = of(map::TOLD, tables.told.get(told as u32))?;
        Ok((told, counts.into_iter().sum()))
    });
    all.collect()
}

/// The tables that can become full.
fn fills(tables: &Tables, view: &View) -> Result<Vec<Fill>, ReadError> {
    let swept = &view.sweep.last;
    let flows: u64 = swept.flows.values().sum();
    let (mut classes, mut classes6) = (0, 0);
    let walked = tables.classes.walk(|keys, _| classes += keys.len() as u64);
    of(map::CLASSES, walked)?;
    let walked = tables
        .classes6
        .walk(|keys, _| classes6 += keys.len() as u64);
    of(map::CLASSES6, walked)?;
    let mut clients = 0;
    let walked = tables.clients.walk(|keys, _| clients += keys.len() as u64);
    of(map::CLIENTS, walked)?;
    Ok(vec![
        Fill {
            table: map::FLOWS,
            entries: 2 * flows.saturating_sub(swept.wide.flows),
            max: tables.flows.max(),
        },
        Fill {
            table: map::FLOWS6,
            entries: 2 * swept.wide.flows,
            max: tables.flows6.max(),
        },
        // The kernel does not say how many there are; the last sweep does.
        Fill {
            table: map::MAPPINGS,
            entries: swept.mappings.saturating_sub(swept.wide.mappings),
            max: tables.mappings.max(),
        },
        Fill {
            table: map::MAPPINGS6,
            entries: swept.wide.mappings,
            max: tables.mappings6.max(),
        },
        Fill {
            table: map::CLASSES,
            entries: classes,
            max: tables.classes.max(),
        },
        Fill {
            table: map::CLASSES6,
            entries: classes6,
            max: tables.classes6.max(),
        },
        Fill {
            table: map::CLIENTS,
            entries: clients,
            max: tables.clients.max(),
        },
    ])
}

/// The states that flows of a protocol can be in.
pub const fn states(protocol: Protocol) -> &'static [gateway::sweep::FlowState] {
    use gateway::sweep::FlowState::{Active, Closing, Established, Opening};
    match protocol {
        Protocol::Tcp => &[Opening, Established, Closing],
        Protocol::Udp | Protocol::Icmp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => {
            &[Active]
        }
    }
}
