//! The shape for benchmarks: a generator, a gateway and a sink in a row, with as many veth queues
//! as wanted and no bridge, router or ARP in between.
//!
//! ```text
//! generator eth0 ── in0 gateway out0 ── eth0 sink
//! 10.1.0.11        10.1.0.1  198.51.100.1   198.51.100.11
//! ```

use crate::plan::{Plan, Role};
use crate::{Error, Prefix, Site};

/// A generator, a gateway and a sink in a row; the hosts are called exactly that.
#[derive(Clone, Debug)]
#[must_use = "a description is nothing until `build`"]
pub struct Direct {
    site: String,
    queues: u16,
    clients: Vec<String>,
    external: Vec<String>,
    ipv6: bool,
}

impl Direct {
    /// Starts a site with one queue per link.
    pub fn new(site: &str) -> Self {
        Self {
            site: site.to_owned(),
            queues: 1,
            clients: Vec::new(),
            external: Vec::new(),
            ipv6: false,
        }
    }

    /// Gives each link that many queues: one per core is fastest.
    pub fn queues(mut self, queues: u16) -> Self {
        self.queues = queues;
        self
    }

    /// Gives every host the [mirror](crate::mirror) of each of its addresses and routes.
    pub fn ipv6(mut self) -> Self {
        self.ipv6 = true;
        self
    }

    /// Makes the generator own a whole prefix, so that it can speak as thousands of clients.
    pub fn clients(mut self, prefix: &str) -> Self {
        self.clients.push(prefix.to_owned());
        self
    }

    /// Routes these addresses or prefixes from the sink to the gateway.
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
        plan.link(("generator", "eth0"), ("gateway", "in0"))
            .queues(self.queues);
        plan.link(("gateway", "out0"), ("sink", "eth0"))
            .queues(self.queues);
        plan.static_neighbours();
        if self.ipv6 {
            plan.ipv6();
        }

        let generator = plan.host("generator").role(Role::Pod);
        generator
            .address("eth0", "10.1.0.11/24")
            .route("default via 10.1.0.1");
        let gateway = plan.host("gateway").role(Role::Gateway);
        gateway
            .address("in0", "10.1.0.1/24")
            .address("out0", "198.51.100.1/24");
        let sink = plan.host("sink").role(Role::Target);
        sink.address("eth0", "198.51.100.11/24")
            .route("default via 198.51.100.1");

        for text in self.clients.iter().chain(&self.external) {
            if let Err(problem) = text.parse::<Prefix>() {
                plan.problem(problem.to_string());
            }
        }
        for prefix in &self.clients {
            plan.host("generator")
                .route(&format!("local {prefix} dev lo"));
            plan.host("gateway")
                .route(&format!("{prefix} via 10.1.0.11"));
        }
        for prefix in &self.external {
            plan.host("sink")
                .route(&format!("{prefix} via 198.51.100.1"));
        }
        plan
    }
}
