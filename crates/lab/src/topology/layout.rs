//! Gives a topology its addresses, segments and routes: the plan behind each shape's picture.

use std::net::Ipv4Addr;

use super::Topology;
use crate::plan::{Plan, Role};
use crate::{Acl, Error, Prefix};

/// The segment between the inside router, or the only one, and the gateways.
const INSIDE: &str = "172.31.1.0/24";

/// The segment between the gateways and the outside router.
const OUTSIDE: &str = "172.31.2.0/24";

/// The segment of the targets (TEST-NET-2, RFC 5737).
const TARGETS: &str = "198.51.100.0/24";

/// A segment's router is its first host; the others are numbered from here.
const FIRST_MEMBER: u32 = 11;

/// The routing table of the one-arm router that leads to the gateways.
const GATEWAY_TABLE: u32 = 100;

/// A description with its texts understood and its addresses given out.
pub(super) struct Layout<'a> {
    topology: &'a Topology,
    pods: Vec<Group>,
    behind: Vec<Behind>,
    external: Vec<Prefix>,
}

struct Group {
    segment: Prefix,
    members: Vec<Member>,
}

#[derive(Clone)]
struct Member {
    name: String,
    address: Ipv4Addr,
}

/// A prefix whose addresses are all one pod's.
struct Behind {
    group: usize,
    pod: Member,
    prefix: Prefix,
}

impl<'a> Layout<'a> {
    /// Resolves every text of the description; what cannot be resolved is the plan's problem.
    pub(super) fn of(topology: &'a Topology, plan: &mut Plan) -> Self {
        let pods = topology.pods.iter().filter_map(|(prefix, names)| {
            let segment = sound(plan, prefix.parse())?;
            let members = numbered(plan, segment, names);
            Some(Group { segment, members })
        });
        let mut layout = Self {
            topology,
            pods: pods.collect(),
            behind: Vec::new(),
            external: Vec::new(),
        };
        for (name, prefix) in &topology.behind {
            let Some(prefix) = sound(plan, prefix.parse()) else {
                continue;
            };
            match layout.pod(name) {
                Some((group, pod)) => layout.behind.push(Behind { group, pod, prefix }),
                None => plan.problem(format!("{name}, which {prefix} is behind, is not a pod")),
            }
        }
        let external = topology.external.iter();
        layout.external = external
            .filter_map(|text| sound(plan, text.parse()))
            .collect();
        layout
    }

    /// Returns a pod and the number of its group.
    fn pod(&self, name: &str) -> Option<(usize, Member)> {
        let groups = self.pods.iter().enumerate();
        let mut pods =
            groups.flat_map(|(number, it)| it.members.iter().map(move |it| (number, it)));
        pods.find(|(_, pod)| pod.name == name)
            .map(|(number, pod)| (number, pod.clone()))
    }

    pub(super) fn two_arm(&self, plan: &mut Plan) {
        for router in ["inside", "outside"] {
            plan.host(router).role(Role::Router);
        }
        self.place_pods(plan, "inside");
        self.place_targets(plan, "outside");
        let inside = self.place_gateways(plan, "inside", INSIDE, "in0");
        let outside = self.place_gateways(plan, "outside", OUTSIDE, "out0");

        if !self.topology.routed {
            plan.host("inside")
                .route(&format!("default {}", next_hops(&inside.gateways)));
        }
        for gateway in &self.topology.gateways {
            plan.host(gateway)
                .route(&format!("default via {}", outside.router));
            for prefix in self.internal() {
                plan.host(gateway)
                    .route(&format!("{prefix} via {}", inside.router));
            }
        }
        let external = self.external.iter().filter(|_| !self.topology.routed);
        for prefix in self.internal().chain(external.copied()) {
            plan.host("outside")
                .route(&format!("{prefix} {}", next_hops(&outside.gateways)));
        }
    }

    pub(super) fn one_arm(&self, plan: &mut Plan) {
        plan.host("router").role(Role::Router);
        self.place_pods(plan, "router");
        self.place_targets(plan, "router");
        let hub = self.place_gateways(plan, "router", INSIDE, "eth0");

        for gateway in &self.topology.gateways {
            plan.host(gateway)
                .route(&format!("default via {}", hub.router));
        }
        let via = next_hops(&hub.gateways);
        let router = plan.host("router");
        router.route(&format!("default {via} table {GATEWAY_TABLE}"));
        for (number, group) in self.pods.iter().enumerate() {
            let behind = self.behind.iter().filter(|it| it.group == number);
            // Only what arrives from the pods goes to the gateway; what the gateway sends back
            // untranslated arrives by another interface and is routed to its target.
            for prefix in std::iter::once(group.segment).chain(behind.map(|it| it.prefix)) {
                let rule = format!("from {prefix} iif pods{number} lookup {GATEWAY_TABLE}");
                router.ip(&format!("rule add {rule}"));
            }
        }
        for prefix in &self.external {
            router.route(&format!("{prefix} {via}"));
        }
    }

    /// Puts each group of pods on a segment of `router`, with that router as their way out.
    fn place_pods(&self, plan: &mut Plan, router: &str) {
        for (number, group) in self.pods.iter().enumerate() {
            let way_out = place(plan, router, &format!("pods{number}"), group, "eth0");
            for member in &group.members {
                let pod = plan.host(&member.name).role(Role::Pod);
                pod.route(&format!("default via {way_out}"));
            }
        }
        for Behind { pod, prefix, .. } in &self.behind {
            plan.host(router)
                .route(&format!("{prefix} via {}", pod.address));
            plan.host(&pod.name)
                .route(&format!("local {prefix} dev lo"));
        }
    }

    fn place_targets(&self, plan: &mut Plan, router: &str) {
        let names: Vec<String> = self
            .topology
            .targets
            .iter()
            .map(|it| it.name.clone())
            .collect();
        let Some(group) = Group::of(plan, TARGETS, &names) else {
            return;
        };
        let way_out = place(plan, router, "targets", &group, "eth0");
        for target in &self.topology.targets {
            let host = plan.host(&target.name).role(Role::Target);
            host.route(&format!("default via {way_out}"));
            for service in &target.services {
                host.service(*service);
            }
            if let Some(refusal) = target.refusal {
                host.acl(Acl {
                    admitted: self.external.clone(),
                    refusal,
                });
            }
        }
    }

    fn place_gateways(&self, plan: &mut Plan, router: &str, segment: &str, port: &str) -> Hub {
        let names = &self.topology.gateways;
        if names.is_empty() {
            plan.problem("it has no gateway".to_owned());
        }
        let Some(group) = Group::of(plan, segment, names) else {
            return Hub {
                router: Ipv4Addr::UNSPECIFIED,
                gateways: Vec::new(),
            };
        };
        let router = place(plan, router, "gateways", &group, port);
        for name in names {
            plan.host(name).role(Role::Gateway);
        }
        Hub {
            router,
            gateways: group.members.into_iter().map(|it| it.address).collect(),
        }
    }

    /// Returns everything that is behind the gateways.
    fn internal(&self) -> impl Iterator<Item = Prefix> {
        let segments = self.pods.iter().map(|group| group.segment);
        segments.chain(self.behind.iter().map(|it| it.prefix))
    }
}

/// The segment of the gateways, from both sides.
struct Hub {
    router: Ipv4Addr,
    gateways: Vec<Ipv4Addr>,
}

impl Group {
    fn of(plan: &mut Plan, segment: &str, names: &[String]) -> Option<Self> {
        let segment = sound(plan, segment.parse())?;
        Some(Self {
            segment,
            members: numbered(plan, segment, names),
        })
    }
}

/// Makes one Ethernet segment: the router as its first host, each member on its interface `port`.
/// Returns the router's address on it.
fn place(plan: &mut Plan, router: &str, bridge: &str, group: &Group, port: &str) -> Ipv4Addr {
    let length = group.segment.length();
    let mut ports = Vec::new();
    for (number, member) in group.members.iter().enumerate() {
        let bridge_port = format!("{bridge}_{number}");
        plan.link((&member.name, port), (router, &bridge_port));
        plan.host(&member.name)
            .address(port, &format!("{}/{length}", member.address));
        ports.push(bridge_port);
    }
    let first = sound(plan, host_of(group.segment, 1)).unwrap_or(Ipv4Addr::UNSPECIFIED);
    plan.host(router)
        .bridge(bridge, &ports)
        .address(bridge, &format!("{first}/{length}"));
    first
}

fn numbered(plan: &mut Plan, segment: Prefix, names: &[String]) -> Vec<Member> {
    let numbers = FIRST_MEMBER..;
    let members = numbers.zip(names).filter_map(|(number, name)| {
        let address = sound(plan, host_of(segment, number))?;
        Some(Member {
            name: name.clone(),
            address,
        })
    });
    members.collect()
}

fn host_of(segment: Prefix, number: u32) -> Result<Ipv4Addr, Error> {
    let full = || Error::PrefixFull {
        prefix: segment.to_string(),
        number,
    };
    segment.host(number).ok_or_else(full)
}

/// Returns what `ip route` is told to reach something over any of the gateways.
fn next_hops(gateways: &[Ipv4Addr]) -> String {
    match gateways {
        [only] => format!("via {only}"),
        several => {
            let hops: Vec<String> = several
                .iter()
                .map(|it| format!("nexthop via {it}"))
                .collect();
            hops.join(" ")
        }
    }
}

fn sound<T>(plan: &mut Plan, result: Result<T, Error>) -> Option<T> {
    result.map_err(|error| plan.problem(error.to_string())).ok()
}
