//! `egret pools`: what the external addresses have given and have left.

use api::http::{AddressState, Pool, Pools, Ports, Protocol};

use crate::{
    output::Look,
    table::{Table, Tone, cell, number, numbers, toned, words},
    text::bytes,
};

/// A share of used ports from which on the table says so: soon a flow will be refused.
const NOTICE_PERCENT: u64 = 80;

/// Ports by address, then traffic by pool.
pub fn show(pools: &Pools, look: Look) -> String {
    format!(
        "{}\n{}",
        ports(&pools.pools, look),
        traffic(&pools.pools, look)
    )
}

fn ports(pools: &[Pool], look: Look) -> String {
    let mut table = Table::new(
        look,
        &[
            words("POOL"),
            words("ADDRESS"),
            words("STATE"),
            words("PORTS"),
            numbers("TCP-USED"),
            numbers("TCP-FREE"),
            numbers("UDP-USED"),
            numbers("UDP-FREE"),
            numbers("ICMP-USED"),
            numbers("ICMP-FREE"),
            numbers("FLOWS"),
        ],
    );
    for pool in pools {
        for address in &pool.addresses {
            let (state, state_tone) = match address.state {
                AddressState::Serving => ("serving", Tone::Good),
                AddressState::Draining => ("draining", Tone::Notice),
            };
            let tone = |ports: Ports| fullness(ports.used.into(), ports.free.into());
            let used = |ports: Ports| toned(ports.used.to_string(), tone(ports));
            let free = |ports: Ports| toned(ports.free.to_string(), tone(ports));
            table.row([
                cell(&pool.name),
                cell(address.address.to_string()),
                toned(state, state_tone),
                cell(format!("{}-{}", pool.first_port, pool.last_port)),
                used(address.tcp),
                free(address.tcp),
                used(address.udp),
                free(address.udp),
                used(address.icmp),
                free(address.icmp),
                number(address.flows),
            ]);
        }
    }
    table.show()
}

/// New flows of the protocols that are translated by address.
fn by_address(pool: &Pool) -> u64 {
    [Protocol::Sctp, Protocol::Gre, Protocol::Esp]
        .map(|protocol| *pool.new_flows_total.of(protocol))
        .iter()
        .fold(0, |sum, new| sum.saturating_add(*new))
}

fn traffic(pools: &[Pool], look: Look) -> String {
    let mut table = Table::new(
        look,
        &[
            words("POOL"),
            numbers("OUT-PACKETS"),
            numbers("OUT-BYTES"),
            numbers("IN-PACKETS"),
            numbers("IN-BYTES"),
            numbers("NEW-TCP"),
            numbers("NEW-UDP"),
            numbers("NEW-ICMP"),
            numbers("NEW-OTHERS"),
        ],
    );
    for pool in pools {
        let new = |protocol| number(*pool.new_flows_total.of(protocol));
        table.row([
            if pool.draining {
                toned(format!("{} (draining)", pool.name), Tone::Notice)
            } else {
                cell(&pool.name)
            },
            number(pool.out.packets),
            cell(bytes(pool.out.bytes)),
            number(pool.inward.packets),
            cell(bytes(pool.inward.bytes)),
            new(Protocol::Tcp),
            new(Protocol::Udp),
            new(Protocol::Icmp),
            number(by_address(pool)),
        ]);
    }
    table.show()
}

/// How near an address is to refusing flows.
pub const fn fullness(used: u64, free: u64) -> Tone {
    if used == 0 {
        Tone::Plain
    } else if free == 0 {
        Tone::Bad
    } else if used.saturating_mul(100) >= used.saturating_add(free).saturating_mul(NOTICE_PERCENT) {
        Tone::Notice
    } else {
        Tone::Plain
    }
}
