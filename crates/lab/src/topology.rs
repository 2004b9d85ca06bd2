//! The two shapes a gateway is put to use in, from a short description.
//!
//! ```text
//! two-arm                                       one-arm
//!   a1 ─┐                            ┌─ db        a1 ─┐            ┌─ db
//!   a2 ─┴─ inside ═ gw, … ═ outside ─┴─ api       a2 ─┴─ router ───┴─ api
//!          (router) in0   out0 (router)                     ║ eth0
//!                                                           gw, …
//! ```
//!
//! In both, each group of pods, the targets and the gateways sit on Ethernet segments of their
//! own, so neighbours are resolved by ARP as they are on real ones. External addresses are routed
//! to the gateways; with several gateways, routes to and through them are equal-cost.
//! In the one-arm shape a policy rule on the router sends what comes from pods to the gateway.
//!
//! Without a gateway program the gateways' kernels forward untranslated, so pods reach what no
//! ACL guards, under their own addresses.

use self::layout::Layout;
use crate::{Error, Plan, Refusal, Service, Site};

mod layout;

/// A site of one of the two shapes.
#[derive(Clone, Debug)]
#[must_use = "a topology is only a description until `build`"]
pub struct Topology {
    site: String,
    arms: Arms,
    pods: Vec<(String, Vec<String>)>,
    behind: Vec<(String, String)>,
    gateways: Vec<String>,
    targets: Vec<Target>,
    external: Vec<String>,
    ipv6: bool,
    routed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Arms {
    One,
    Two,
}

/// A host that pods want to reach.
#[derive(Clone, Debug)]
#[must_use = "a target is only a description until a topology has it"]
pub struct Target {
    name: String,
    refusal: Option<Refusal>,
    services: Vec<Service>,
}

impl Topology {
    /// Starts a site whose gateways stand between the inside (`in0`) and the outside (`out0`).
    pub fn two_arm(site: &str) -> Self {
        Self::new(site, Arms::Two)
    }

    /// Starts a site whose gateways hang off the router by one interface, `eth0`.
    pub fn one_arm(site: &str) -> Self {
        Self::new(site, Arms::One)
    }

    fn new(site: &str, arms: Arms) -> Self {
        Self {
            site: site.to_owned(),
            arms,
            pods: Vec::new(),
            behind: Vec::new(),
            gateways: Vec::new(),
            targets: Vec::new(),
            external: Vec::new(),
            ipv6: false,
            routed: false,
        }
    }

    /// Adds pods on a segment of their own; their addresses count up from `.11`.
    pub fn pods<'a>(mut self, prefix: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.pods.push((
            prefix.to_owned(),
            names.into_iter().map(str::to_owned).collect(),
        ));
        self
    }

    /// Gives every host the [mirror](crate::mirror) of each of its addresses and routes, and so also
    /// routes the external addresses' mirrors to the gateways.
    pub fn ipv6(mut self) -> Self {
        self.ipv6 = true;
        self
    }

    /// Leaves the routes of external addresses to a routing daemon on the outside router, and of everything
    /// that pods want to one on the inside router.
    pub fn routed(mut self) -> Self {
        self.routed = true;
        self
    }

    /// Routes a whole prefix to a pod, which then owns every address of it: one host that speaks
    /// as thousands of clients.
    pub fn clients(mut self, pod: &str, prefix: &str) -> Self {
        self.behind.push((pod.to_owned(), prefix.to_owned()));
        self
    }

    /// Adds a gateway; several share the external addresses by equal-cost routes.
    pub fn gateway(mut self, name: &str) -> Self {
        self.gateways.push(name.to_owned());
        self
    }

    /// Adds a target; addresses count up from 198.51.100.11.
    pub fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Routes these addresses or prefixes to the gateways; guarded targets let in only them.
    pub fn external<'a>(mut self, addresses: impl IntoIterator<Item = &'a str>) -> Self {
        self.external
            .extend(addresses.into_iter().map(str::to_owned));
        self
    }

    /// Builds the site; see [`Site::build`].
    pub fn build(&self) -> Result<Site, Error> {
        self.plan().build()
    }

    /// Returns the site as a plan, to build or to add to.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::new(&self.site);
        if self.ipv6 {
            plan.ipv6();
        }
        let layout = Layout::of(self, &mut plan);
        match self.arms {
            Arms::One => layout.one_arm(&mut plan),
            Arms::Two => layout.two_arm(&mut plan),
        }
        plan
    }
}

impl Target {
    /// A target that rejects everybody but the external addresses.
    pub fn guarded(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            refusal: Some(Refusal::Reject),
            services: Vec::new(),
        }
    }

    /// A target that anybody may reach.
    pub fn open(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            refusal: None,
            services: Vec::new(),
        }
    }

    /// Makes a guarded target drop what it refuses, silently.
    pub fn silent(mut self) -> Self {
        self.refusal = self.refusal.map(|_| Refusal::Drop);
        self
    }

    /// Serves HTTP; every answer is the client's address as the target saw it.
    pub fn http(self, port: u16) -> Self {
        self.service(Service::Http { port })
    }

    /// Answers each datagram with the sender's address and the payload.
    pub fn datagrams(self, port: u16) -> Self {
        self.service(Service::Datagrams { port })
    }

    /// Serves long TCP transfers in either direction (see [`Transfer`](crate::Transfer)).
    pub fn stream(self, port: u16) -> Self {
        self.service(Service::Stream { port })
    }

    fn service(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }
}

#[cfg(test)]
mod tests;
