//! Gives up what is needed no more once the programs are loaded.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

/// What a running daemon still needs: to read and write maps, to attach to an interface that
/// appears, move its packets and set its sysctls, to sign segments to BGP peers, to wait for these on
/// port 179 when a reload asks for it, and to look for them by router advertisements.
const KEPT: [Capability; 4] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
];

/// What it needs beside to load programs: without, the kernel verifies them as a stranger's. It is kept
/// while there may be any to load, and then until the daemon starts again: capabilities are each thread's
/// own, and the others would keep it.
const LOADING: Capability = Capability::CAP_PERFMON;

/// Drops every capability that is needed no more, for good; `may_load` if there may be programs to load
/// yet.
///
/// # Errors
///
/// If the kernel refuses, for instance because a kept one is missing.
pub fn drop_others(may_load: bool) -> Result<(), CapsError> {
    let kept: CapsHashSet = KEPT
        .into_iter()
        .chain(may_load.then_some(LOADING))
        .collect();
    for capability in caps::all() {
        if !kept.contains(&capability) && caps::has_cap(None, CapSet::Bounding, capability)? {
            caps::drop(None, CapSet::Bounding, capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}
