//! What a new configuration changes for routers.

use super::pair;
use crate::intent::{
    Intent,
    routing::{Bfd, Bgp, Peer},
};

/// The differences in what routers are told and watched by.
pub(super) fn between(before: &Intent, after: &Intent, changes: &mut Vec<String>) {
    match (&before.bgp, &after.bgp) {
        (None, Some(new)) => changes.push(format!("BGP is spoken as AS {}", new.asn)),
        (Some(_), None) => changes.push("BGP is spoken no longer: all routes are withdrawn".into()),
        (Some(old), Some(new)) => speaker(old, new, changes),
        (None, None) => {}
    }
    let peers = |bgp: &Option<Bgp>| bgp.as_ref().map_or_else(Vec::new, |it| it.peers.clone());
    peered(&peers(&before.bgp), &peers(&after.bgp), changes);
    watched(&before.bfd, &after.bfd, changes);
}

fn speaker(old: &Bgp, new: &Bgp, changes: &mut Vec<String>) {
    if (old.asn, old.router_id, old.graceful_restart)
        != (new.asn, new.router_id, new.graceful_restart)
    {
        changes.push(
            "BGP is spoken by another number, identifier or restart time: all sessions begin anew"
                .into(),
        );
    }
    if old.port != new.port {
        changes.push(format!("BGP peers are waited for on port {}", new.port));
    }
    if old.drain != new.drain {
        changes.push(format!("a drain takes {} s at most", new.drain.as_secs()));
    }
}

fn peered(before: &[Peer], after: &[Peer], changes: &mut Vec<String>) {
    let (gone, new, kept) = pair(before, after, |peer| &peer.name);
    changes.extend(gone.iter().map(|old| format!("peer {} goes", old.name)));
    changes.extend(new.iter().map(|new| format!("peer {} comes", new.name)));
    for (old, new) in kept {
        let told_otherwise = Peer {
            announce: new.announce.clone(),
            advertisement_interval: new.advertisement_interval,
            bfd: new.bfd.clone(),
            keeps_received: new.keeps_received,
            keys: new.keys.clone(),
            ..old.clone()
        };
        if old.keys != new.keys {
            changes.push(format!(
                "peer {} has other keys: its next session begins with them",
                new.name
            ));
        }
        let with_new_keys = Peer {
            keys: new.keys.clone(),
            ..old.clone()
        };
        if told_otherwise != *new {
            changes.push(format!(
                "peer {} is another: its session begins anew",
                new.name
            ));
        } else if with_new_keys != *new {
            changes.push(format!("peer {} is told or watched otherwise", new.name));
        }
    }
}

fn watched(before: &Bfd, after: &Bfd, changes: &mut Vec<String>) {
    let (gone, new, kept) = pair(&before.profiles, &after.profiles, |it| &it.name);
    let gone = gone.iter();
    changes.extend(gone.map(|old| format!("BFD profile {} goes", old.name)));
    let new = new.iter();
    changes.extend(new.map(|new| format!("BFD profile {} comes", new.name)));
    let kept = kept.into_iter().filter(|(old, new)| old != new);
    changes.extend(kept.map(|(_, new)| {
        let name = &new.name;
        format!("BFD profile {name} is another: its sessions agree on new timers and stay up")
    }));
    let (gone, new, kept) = pair(&before.sessions, &after.sessions, |it| &it.name);
    let gone = gone.iter();
    changes.extend(gone.map(|old| format!("BFD session {} goes", old.name)));
    let new = new.iter();
    changes.extend(new.map(|new| format!("BFD session {} comes", new.name)));
    let kept = kept.into_iter().filter(|(old, new)| old != new);
    changes.extend(kept.map(|(_, new)| format!("BFD session {} is another", new.name)));
}
