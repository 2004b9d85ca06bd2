//! The cluster, as the API shows it.

use abi::cluster::{BUCKETS, Holder};
use api::http::{Cluster, ClusterMember};

use crate::ways::Members;

/// The members and what each holds.
pub fn cluster(members: Option<&Members>) -> Cluster {
    let Some(found) = members else {
        return Cluster::default();
    };
    let count = |is_held: &dyn Fn(&Holder) -> bool| {
        let holders = found.holders.iter().flatten();
        u32::try_from(holders.filter(|it| is_held(it)).count()).unwrap_or(u32::MAX)
    };
    let all = found.members.iter().enumerate();
    let members = all.map(|(number, (member, standing))| ClusterMember {
        name: member.name.clone(),
        address: member.address.to_string(),
        state: standing.word().to_owned(),
        owns: count(&|it| usize::from(it.owner) == number),
        serves: count(&|it| usize::from(it.before) == number),
    });
    Cluster {
        name: Some(found.name.clone()),
        own: found
            .members
            .get(found.me)
            .map(|(member, _)| member.name.clone()),
        settled: found.holders.is_some(),
        buckets: u32::try_from(BUCKETS).unwrap_or(u32::MAX),
        members: members.collect(),
    }
}
