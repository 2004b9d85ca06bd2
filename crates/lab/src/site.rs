//! A site that is up, and the promise that it will be gone.

use std::fmt;

use crate::host::Host;
use crate::plan::{Plan, Role};
use crate::service::Server;
use crate::state::{Claim, Holder, Registry};
use crate::{Error, raise};

/// A site that is up. Everything of it is removed when this is dropped; if the process is killed
/// before that, the next lab command or the next build of any site removes it.
pub struct Site {
    plan: Plan,
    /// Dropped before the hosts, in which its threads run.
    servers: Vec<Server>,
    hosts: Vec<Host>,
    /// Nothing for a detached site, which stays when this is dropped.
    claim: Option<Claim>,
}

impl Site {
    /// Builds a site and starts its services.
    ///
    /// # Errors
    ///
    /// Fails if the plan is not sound, if a site of that name is up, or if this process may not
    /// make namespaces. Nothing is left behind then.
    pub fn build(plan: &Plan) -> Result<Self, Error> {
        let mut site = Self::build_silent(plan)?;
        site.serve()?;
        Ok(site)
    }

    /// Builds a site without its services.
    pub(crate) fn build_silent(plan: &Plan) -> Result<Self, Error> {
        plan.check()?;
        let claim = Registry::open()?.claim(plan)?;
        let mut site = Self {
            plan: plan.clone(),
            servers: Vec::new(),
            hosts: Vec::new(),
            claim: Some(claim),
        };
        site.hosts = raise::raise(plan)?;
        Ok(site)
    }

    /// Opens a site that `cargo xtask lab up` left running. It stays when this is dropped.
    pub fn open(name: &str) -> Result<Self, Error> {
        let state = Registry::open()?.find(name)?;
        let state = state.ok_or_else(|| Error::NoSite {
            site: name.to_owned(),
        })?;
        let plan = state.plan()?;
        let hosts = raise::reopen(&plan)?;
        Ok(Self {
            plan,
            servers: Vec::new(),
            hosts,
            claim: None,
        })
    }

    /// Starts the services of all hosts.
    pub(crate) fn serve(&mut self) -> Result<(), Error> {
        for (host, plan) in self.hosts.iter().zip(&self.plan.hosts) {
            for service in &plan.services {
                self.servers.push(service.start(host)?);
            }
        }
        Ok(())
    }

    /// Gives up the claim, and with it the duty to remove the site.
    pub(crate) fn release(mut self) -> Option<Claim> {
        self.claim.take()
    }

    /// Returns the site's name.
    pub fn name(&self) -> &str {
        &self.plan.site
    }

    /// Returns the plan the site was built from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the host of that name.
    pub fn host(&self, name: &str) -> Result<&Host, Error> {
        self.hosts
            .iter()
            .find(|host| host.name() == name)
            .ok_or_else(|| {
                let hosts: Vec<&str> = self.hosts.iter().map(Host::name).collect();
                let site = self.name().to_owned();
                Error::NoHost {
                    site,
                    host: name.to_owned(),
                    hosts: hosts.join(", "),
                }
            })
    }

    /// Returns all hosts, in the plan's order.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Returns the hosts of one role, in the plan's order.
    pub fn hosts_of(&self, role: Role) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(move |host| host.role() == role)
    }

    /// Removes the site and says if something of it would not go.
    pub fn down(mut self) -> Result<(), Error> {
        self.remove()
    }

    fn remove(&mut self) -> Result<(), Error> {
        self.servers.clear();
        self.hosts.clear();
        let Some(claim) = self.claim.take() else {
            return Ok(());
        };
        let registry = Registry::open()?;
        match registry.find(&self.plan.site)? {
            Some(state) if matches!(state.holder, Holder::Builder { .. }) => {
                registry.remove(&state)?;
            }
            Some(_) | None => {}
        }
        drop(claim);
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What could not be removed is still in the state file, for the next sweep.
        let _ = self.remove();
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("name", &self.plan.site)
            .finish_non_exhaustive()
    }
}
