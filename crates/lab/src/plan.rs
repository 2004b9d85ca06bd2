//! What a site consists of, as data: hosts, the links between them, and what is set up inside each.
//!
//! A shape ([`Topology`](crate::Topology), [`Direct`](crate::Direct)) makes a plan; a test that
//! needs another arrangement writes its own. Nothing here touches the machine: mistakes are
//! collected and reported, all at once, when the plan is built.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{Acl, Error, Prefix, Service, Site};

/// Hosts in one site; a MAC address has one byte for the host's number.
pub const HOSTS_MAX: usize = 250;

/// Interfaces of one host; a MAC address has one byte for the interface's number.
pub const INTERFACES_MAX: usize = 250;

/// Characters in a site's name: it is a part of file names and of every namespace's name.
const SITE_NAME_MAX: usize = 32;

/// Characters in a host's name.
const HOST_NAME_MAX: usize = 24;

/// Characters in an interface's name (the kernel's `IFNAMSIZ` with room for its zero byte).
const INTERFACE_NAME_MAX: usize = 15;

/// A site that may be built.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub(crate) site: String,
    pub(crate) hosts: Vec<HostPlan>,
    pub(crate) links: Vec<Link>,
    static_neighbours: bool,
    #[serde(default)]
    pub(crate) ipv6: bool,
    #[serde(skip)]
    problems: Vec<String>,
}

/// What a host is for. Decides what the kernel in it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Lives behind the gateways.
    Pod,
    /// Forwards, has a run directory and a bpffs, and leaves GRO off: its interfaces are those of
    /// a machine whose packet path we measure.
    Gateway,
    /// Forwards, and spreads over equal paths by ports too.
    Router,
    /// Is what pods want to reach.
    Target,
    /// Anything else.
    Other,
}

/// One host: a network namespace and what is set up in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostPlan {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) addresses: Vec<(String, Prefix)>,
    pub(crate) ip: Vec<String>,
    pub(crate) sysctls: Vec<(String, String)>,
    pub(crate) acl: Option<Acl>,
    pub(crate) services: Vec<Service>,
    #[serde(skip)]
    problems: Vec<String>,
}

/// A veth pair between two hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    pub(crate) ends: [End; 2],
    pub(crate) queues: u16,
    pub(crate) mtu: u16,
}

/// One end of a [`Link`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub(crate) host: String,
    pub(crate) interface: String,
}

impl Plan {
    /// Starts an empty site.
    pub fn new(site: &str) -> Self {
        Self {
            site: site.to_owned(),
            hosts: Vec::new(),
            links: Vec::new(),
            static_neighbours: false,
            ipv6: false,
            problems: Vec::new(),
        }
    }

    /// Returns the host of that name, adding it if it is new.
    pub fn host(&mut self, name: &str) -> &mut HostPlan {
        let position = self.hosts.iter().position(|host| host.name == name);
        let position = position.unwrap_or_else(|| {
            self.hosts.push(HostPlan::new(name));
            self.hosts.len() - 1
        });
        &mut self.hosts[position]
    }

    /// Joins two hosts, each given as (host, interface), by a wire; adds hosts that are new.
    pub fn link(&mut self, one: (&str, &str), other: (&str, &str)) -> &mut Link {
        let ends = [one, other].map(|(host, interface)| {
            self.host(host);
            End {
                host: host.to_owned(),
                interface: interface.to_owned(),
            }
        });
        self.links.push(Link {
            ends,
            queues: 1,
            mtu: 1500,
        });
        self.links
            .last_mut()
            .expect("invariant: a link was pushed just above")
    }

    /// Gives both ends of every link the other end's MAC address for good, so that no ARP is seen.
    pub fn static_neighbours(&mut self) -> &mut Self {
        self.static_neighbours = true;
        self
    }

    /// Gives every host the [mirror](crate::mirror) of each of its addresses and routes.
    pub fn ipv6(&mut self) -> &mut Self {
        self.ipv6 = true;
        self
    }

    /// Returns the MAC address an interface gets; it depends on nothing but the plan's order.
    pub fn mac(&self, host: &str, interface: &str) -> Option<[u8; 6]> {
        let host_number = self.hosts.iter().position(|each| each.name == host)?;
        let interface_number = self.interfaces(host).position(|each| each == interface)?;
        let number = |position: usize| u8::try_from(position + 1).ok();
        Some([
            0x02,
            0xe9,
            0x00,
            number(host_number)?,
            0x00,
            number(interface_number)?,
        ])
    }

    /// Builds the site; see [`Site::build`].
    pub fn build(&self) -> Result<Site, Error> {
        Site::build(self)
    }

    /// Remembers a mistake of a shape, to be reported with the others.
    pub(crate) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Returns the names of a host's interfaces, in the order of the links.
    pub(crate) fn interfaces(&self, host: &str) -> impl Iterator<Item = &str> {
        let ends = self.links.iter().flat_map(|link| &link.ends);
        ends.filter(move |end| end.host == host)
            .map(|end| end.interface.as_str())
    }

    /// Returns the neighbours a host knows for good: (address, interface, MAC).
    pub(crate) fn neighbours(&self, host: &str) -> Vec<(Ipv4Addr, &str, [u8; 6])> {
        let mut known = Vec::new();
        if !self.static_neighbours {
            return known;
        }
        for [one, other] in self.links.iter().map(|link| &link.ends) {
            for (near, far) in [(one, other), (other, one)] {
                let Some(mac) = self.mac(&far.host, &far.interface) else {
                    continue;
                };
                let hosts = self
                    .hosts
                    .iter()
                    .filter(|each| near.host == host && each.name == far.host);
                let addresses = hosts.flat_map(|each| &each.addresses);
                let there = addresses.filter(|(interface, _)| *interface == far.interface);
                known.extend(there.map(|(_, it)| (it.address(), near.interface.as_str(), mac)));
            }
        }
        known
    }

    /// Reports everything that is wrong with the plan.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_site_name(&self.site)?;
        let mut problems = self.problems.clone();
        problems.extend(self.hosts.iter().flat_map(|host| host.problems.clone()));
        if self.hosts.len() > HOSTS_MAX {
            problems.push(format!(
                "it has {} hosts, at most {HOSTS_MAX}",
                self.hosts.len()
            ));
        }
        for host in &self.hosts {
            // A hyphen separates the site's name from the host's, and only the last one does.
            if !is_name(&host.name, HOST_NAME_MAX, '_') {
                problems.push(format!(
                    "host {:?} is not named by {HOST_NAME_MAX} of a-z 0-9 _",
                    host.name
                ));
            }
            problems.extend(self.check_interfaces(&host.name));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Plan {
            site: self.site.clone(),
            why: problems.join("; "),
        })
    }

    fn check_interfaces(&self, host: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        for interface in self.interfaces(host) {
            if !seen.insert(interface) {
                problems.push(format!("{host} has two interfaces {interface}"));
            }
            if !is_name(interface, INTERFACE_NAME_MAX, '_') {
                problems.push(format!("{host}: {interface:?} is not an interface's name"));
            }
        }
        if seen.len() > INTERFACES_MAX {
            problems.push(format!(
                "{host} has {} interfaces, at most {INTERFACES_MAX}",
                seen.len()
            ));
        }
        problems
    }
}

impl HostPlan {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            role: Role::Other,
            addresses: Vec::new(),
            ip: Vec::new(),
            sysctls: Vec::new(),
            acl: None,
            services: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Says what the host is for.
    pub fn role(&mut self, role: Role) -> &mut Self {
        self.role = role;
        self
    }

    /// Gives an interface an address with its prefix length; the first is the host's own.
    pub fn address(&mut self, interface: &str, address: &str) -> &mut Self {
        match address.parse::<Prefix>() {
            Ok(prefix) => {
                self.addresses.push((interface.to_owned(), prefix));
                let address = prefix.address();
                self.ip(&format!(
                    "address add {address}/{} dev {interface}",
                    prefix.length()
                ))
            }
            Err(problem) => {
                self.problems.push(format!("{}: {problem}", self.name));
                self
            }
        }
    }

    /// Adds a route, as `ip route add` takes it: `default via 10.0.0.1`.
    pub fn route(&mut self, route: &str) -> &mut Self {
        self.ip(&format!("route add {route}"))
    }

    /// Joins interfaces of this host into one Ethernet segment, on which the host itself is `name`.
    pub fn bridge(&mut self, name: &str, ports: &[String]) -> &mut Self {
        // Without spanning tree a port forwards at once; without snooping nobody sends queries.
        self.ip(&format!(
            "link add name {name} type bridge stp_state 0 mcast_snooping 0"
        ));
        for port in ports {
            self.ip(&format!("link set {port} master {name}"));
        }
        self.ip(&format!("link set {name} up"))
    }

    /// Adds a line for `ip -batch`; lines run in order, after the host's links are up.
    pub fn ip(&mut self, line: &str) -> &mut Self {
        if line.contains('\n') {
            self.problems
                .push(format!("{}: {line:?} is more than one line", self.name));
        }
        self.ip.push(line.to_owned());
        self
    }

    /// Sets a sysctl below `net`, by path: `ipv4/ip_forward`. Runs before any link is there.
    pub fn sysctl(&mut self, path: &str, value: &str) -> &mut Self {
        self.sysctls.push((path.to_owned(), value.to_owned()));
        self
    }

    /// Lets in only whom the list names.
    pub fn acl(&mut self, acl: Acl) -> &mut Self {
        self.acl = Some(acl);
        self
    }

    /// Serves something.
    pub fn service(&mut self, service: Service) -> &mut Self {
        self.services.push(service);
        self
    }
}

impl Link {
    /// Gives each end that many receive and transmit queues.
    pub fn queues(&mut self, queues: u16) -> &mut Self {
        self.queues = queues;
        self
    }

    /// Sets the MTU of both ends.
    pub fn mtu(&mut self, mtu: u16) -> &mut Self {
        self.mtu = mtu;
        self
    }
}

/// Says whether a site may be called that.
pub(crate) fn check_site_name(name: &str) -> Result<(), Error> {
    if is_name(name, SITE_NAME_MAX, '-') {
        return Ok(());
    }
    let rule = "take up to 32 of a-z, 0-9 and hyphen, beginning with a letter";
    Err(Error::Name {
        what: "site",
        name: name.to_owned(),
        rule,
    })
}

fn is_name(name: &str, length_max: usize, joiner: char) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == joiner;
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= length_max
        && name.chars().all(allowed)
}

#[cfg(test)]
mod tests;
