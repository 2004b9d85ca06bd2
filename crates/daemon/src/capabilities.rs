//! Gives up what is needed no more once the program is loaded.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

/// What a running daemon still needs: to read and write maps, and to attach to an interface that
/// appears, move its packets and set its sysctls.
const KEPT: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN];

/// Drops every capability but [`KEPT`], for good.
///
/// # Errors
///
/// If the kernel refuses, for instance because a kept one is missing.
pub fn drop_others() -> Result<(), CapsError> {
    for capability in caps::all() {
        if !KEPT.contains(&capability) && caps::has_cap(None, CapSet::Bounding, capability)? {
            caps::drop(None, CapSet::Bounding, capability)?;
        }
    }
    let kept: CapsHashSet = KEPT.into_iter().collect();
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}
