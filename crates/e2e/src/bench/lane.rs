//! The lanes: one site for each contender, all up at the same time, so that their turns can follow
//! each other at once and nothing is set up anew in between.
//!
//! ```text
//! generator eth0 ── in0 gateway out0 ── eth0 sink
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::{Direct, Host, Service, Site, until};

use super::xdp::{Answer, SmallProgram, ifindex};
use crate::harness::Gateway;

/// The clients whose flows are established and then measured, and those that only begin flows.
pub(super) const CLIENTS: [&str; 2] = ["10.2.0.0/16", "10.3.0.0/16"];

/// Egret's external addresses.
const EXTERNAL: &str = "192.0.2.0/28";

/// What the masquerading kernel sends from: the gateway's address towards the sink.
const MASQUERADING: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Where the sink's stream service listens.
pub(super) const STREAM_PORT: u16 = 5001;

/// Flows that Egret's table has room for: those of all parts and rounds together.
pub(super) const FLOWS: u32 = 524_288;

/// How long frames that are under way may take to arrive, when nothing follows them.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

/// Who carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    /// Nobody: the gateway's driver drops what arrives. What is left is the cost of the rig.
    Floor,
    /// An XDP program that sends every frame on as it is.
    Redirect,
    /// The kernel, without translation.
    Forward,
    /// The kernel with nftables, masquerading.
    Nftables,
    /// The same, but it handles each segment of TCP by itself.
    NftablesEach,
    /// Egret.
    Egret,
}

impl Contender {
    /// All, each after those that it is compared with.
    pub(super) const ALL: [Self; 6] = [
        Self::Floor,
        Self::Redirect,
        Self::Forward,
        Self::Nftables,
        Self::NftablesEach,
        Self::Egret,
    ];

    /// The name in reports.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Floor => "dropped at arrival",
            Self::Redirect => "XDP, bare redirect",
            Self::Forward => "kernel, forwarding only",
            Self::Nftables => "kernel, nftables masquerade",
            Self::NftablesEach => "the same, GRO off",
            Self::Egret => "Egret",
        }
    }

    /// Who carries packets on the same path without translating them.
    pub(super) const fn untranslated(self) -> Option<Self> {
        match self {
            Self::Nftables => Some(Self::Forward),
            Self::Egret => Some(Self::Redirect),
            Self::Floor | Self::Redirect | Self::Forward | Self::NftablesEach => None,
        }
    }

    /// Whether packets reach a socket behind it.
    pub(super) const fn delivers(self) -> bool {
        match self {
            // A frame that nobody addresses to its next hop is not for the sink.
            Self::Floor | Self::Redirect => false,
            Self::Forward | Self::Nftables | Self::NftablesEach | Self::Egret => true,
        }
    }

    /// Whether a packet may arrive from there, if the contender does what it is here for.
    pub(super) fn sends_from(self, source: Ipv4Addr) -> bool {
        match self {
            Self::Floor | Self::Redirect => false,
            Self::Forward => source.octets()[0] == 10,
            Self::Nftables | Self::NftablesEach => source == MASQUERADING,
            Self::Egret => source.octets()[..3] == [192, 0, 2],
        }
    }

    /// The name of its site.
    const fn site(self) -> &'static str {
        match self {
            Self::Floor => "bench-floor",
            Self::Redirect => "bench-redirect",
            Self::Forward => "bench-forward",
            Self::Nftables => "bench-nft",
            Self::NftablesEach => "bench-nft-each",
            Self::Egret => "bench-egret",
        }
    }
}

/// A contender in its site.
pub(super) struct Lane {
    pub(super) contender: Contender,
    means: Means,
    /// Below the means, because they are taken down before the site is.
    site: Site,
}

/// What a contender needs while it is up.
enum Means {
    /// The kernel needs nothing but to be told.
    Kernel,
    /// A program of the rig, which hangs on the gateway as long as it is held.
    Small {
        _program: SmallProgram,
    },
    Egret(Box<Gateway>),
}

impl Lane {
    /// Builds the site and starts the contender in it.
    pub(super) fn open(contender: Contender) -> Result<Self> {
        let mut direct = Direct::new(contender.site()).queues(1).external([EXTERNAL]);
        for prefix in CLIENTS {
            direct = direct.clients(prefix);
        }
        let mut plan = direct.plan();
        plan.host("sink")
            .service(Service::Stream { port: STREAM_PORT });
        let site = plan.build()?;
        let means = Means::start(contender, site.host("gateway")?)
            .with_context(|| format!("cannot start {}", contender.label()))?;
        Ok(Self {
            contender,
            means,
            site,
        })
    }

    /// A host of the site.
    pub(super) fn host(&self, name: &str) -> Result<&Host> {
        Ok(self.site.host(name)?)
    }

    /// The sink's address.
    pub(super) fn target(&self) -> Result<Ipv4Addr> {
        Ok(self.host("sink")?.address()?)
    }

    /// Egret itself.
    pub(super) fn gateway(&mut self) -> Result<&mut Gateway> {
        match &mut self.means {
            Means::Egret(gateway) => Ok(gateway),
            Means::Kernel | Means::Small { .. } => bail!("{:?} has no daemon", self.contender),
        }
    }

    /// Packets that have come to the end of the lane: the sink, or where they are dropped.
    pub(super) fn arrived(&self) -> Result<u64> {
        let (host, interface) = match self.contender {
            Contender::Floor => ("gateway", "in0"),
            Contender::Redirect
            | Contender::Forward
            | Contender::Nftables
            | Contender::NftablesEach
            | Contender::Egret => ("sink", "eth0"),
        };
        Ok(self.host(host)?.counters(interface)?.rx_packets)
    }

    /// The same, when no more come.
    pub(super) fn arrived_in_the_end(&self) -> Result<u64> {
        let mut last = self.arrived()?;
        let settled = until(SETTLE_LIMIT, || {
            let now = self.arrived();
            match now {
                Ok(now) if now == last => Some(Ok(now)),
                Ok(now) => {
                    last = now;
                    None
                }
                Err(error) => Some(Err(error)),
            }
        });
        settled.context("packets arrive although none are sent any more")?
    }

    /// Makes the sink forget what arrives as early as its kernel can: it is not what is measured.
    pub(super) fn deafen(&self) -> Result<()> {
        Ok(self.host("sink")?.nft(DEAF)?)
    }

    /// Makes the sink hear again.
    pub(super) fn undeafen(&self) -> Result<()> {
        Ok(self.host("sink")?.nft("delete table netdev bench\n")?)
    }

    /// Takes the lane down and checks that Egret left nothing.
    pub(super) fn close(self) -> Result<()> {
        match self.means {
            Means::Kernel | Means::Small { .. } => {}
            Means::Egret(gateway) => gateway.finish()?,
        }
        Ok(self.site.down()?)
    }

    /// Takes the lane down in whatever state it is.
    pub(super) fn discard(self) -> Result<()> {
        match self.means {
            Means::Kernel | Means::Small { .. } => {}
            Means::Egret(gateway) => gateway.discard()?,
        }
        Ok(self.site.down()?)
    }
}

impl Means {
    fn start(contender: Contender, gateway: &Host) -> Result<Self> {
        Ok(match contender {
            Contender::Floor => Self::Small {
                _program: SmallProgram::always(Answer::Drop)?.attach(gateway, "in0")?,
            },
            Contender::Redirect => {
                let out0 = gateway.enter(|| ifindex("out0"))??;
                Self::Small {
                    _program: SmallProgram::redirect(out0)?.attach(gateway, "in0")?,
                }
            }
            Contender::Forward => {
                receive_in_batches(gateway)?;
                Self::Kernel
            }
            Contender::Nftables => {
                receive_in_batches(gateway)?;
                gateway.nft(MASQUERADE)?;
                Self::Kernel
            }
            Contender::NftablesEach => {
                gateway.nft(MASQUERADE)?;
                Self::Kernel
            }
            Contender::Egret => Self::Egret(Box::new(Gateway::launch(gateway, &policy())?)),
        })
    }
}

/// Gives the kernel back what the lab takes from a gateway for XDP's sake, so that it is measured as
/// it runs on a network card: it receives in batches, puts segments of TCP together (GRO), handles
/// them as one and takes them apart when they leave.
fn receive_in_batches(gateway: &Host) -> Result<()> {
    for interface in ["in0", "out0"] {
        gateway.succeed("ethtool", ["-K", interface, "gro", "on"])?;
    }
    Ok(())
}

fn policy() -> String {
    let [one, other] = CLIENTS;
    format!(
        "
pools:
  - {{name: bench, addresses: [{EXTERNAL}]}}
rules:
  - {{name: bench, sources: [10.1.0.0/24, {one}, {other}], destinations: [198.51.100.0/24], pool: bench}}
limits:
  flows: {FLOWS}
"
    )
}

const MASQUERADE: &str = "
table ip nat {
  chain postrouting {
    type nat hook postrouting priority 100
    oifname out0 masquerade
  }
}
";

const DEAF: &str = "
table netdev bench {
  chain sink {
    type filter hook ingress device eth0 priority 0; policy drop
  }
}
";
