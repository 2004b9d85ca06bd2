//! The command line: what can be asked, and how. Its help is the manual: `docs/operate/cli.md` and
//! the man pages are made from it.

use std::{path::PathBuf, time::Duration};

use api::http::{FlowState, FlowsQuery, Protocol, WhoQuery};
use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use clap_complete::Shell;

/// Flows in a table, unless one asks for more: a screen or two.
const LIMIT_DEFAULT: u32 = 100;

/// How long a member's certificate is valid unless one says otherwise: more than two years, and not so long
/// that nobody remembers how it is renewed.
const DAYS_DEFAULT: u16 = 825;

/// Between two refreshes of `watch`. Below, asking would be a load of its own.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Between two refreshes of `watch`. Above, a screen that stands still looks like one that hangs.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// Where the options stand that every verb has, behind those of its own.
const GLOBAL: &str = "Global options";

const AFTER_HELP: &str = "\
JSON is for programs: numbers are exact, and within version 1 of the API fields are added, never \
renamed or removed. On a terminal it is indented. What the daemon does not answer in JSON \
(`config`, `metrics`) is printed as it is; `check`, `watch` and `cluster certificates` print JSON of \
their own, `bgp show` an object for each peer, `drain`, `undrain` and `cluster roll` one for each change.

Exit status:
  0  it did what was asked
  1  the daemon said no, or a configuration has problems
  2  the command line, or a file that it names, cannot be used
  3  the daemon cannot be asked; the message says which socket, and what to do

Colours appear only on a terminal, and not if NO_COLOR is set.";

/// Asks a running Egret gateway what it does, and tells it what to do.
///
/// Egret is a NAT gateway on eBPF/XDP. Its daemon, egretd, translates flows and answers on a unix
/// socket; this command shows the answers as tables for people, and with --json as they are for
/// programs.
#[derive(Debug, Parser)]
#[command(name = "egret", version, after_long_help = AFTER_HELP)]
pub struct Cli {
    /// Print the daemon's JSON, unchanged.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,

    /// The unix socket of the daemon.
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "PATH",
        env = "EGRET_SOCKET",
        hide_env_values = true,
        default_value = api::http::SOCKET
    )]
    pub socket: PathBuf,

    /// What is asked.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how the gateway is: configuration, interfaces, flows, expiry.
    Status,
    /// List flows.
    Flows(FlowsArgs),
    /// Show one flow, found by its tuple in either direction.
    ///
    /// The tuple is a protocol, a source and a destination, as a packet shows them on either side
    /// of the gateway: on its way out or back, before or after translation.
    #[command(after_help = "\
Examples:
  egret flow tcp 10.1.0.7:40000 198.51.100.9:5432     as the client sends it
  egret flow tcp 198.51.100.9:5432 192.0.2.10:40000   as the reply arrives
  egret flow tcp '[2001:db8::7]:4242' '[64:ff9b::c633:6409]:5432'   from IPv6 to IPv4
  egret flow icmp 10.1.0.7:77 198.51.100.9            a ping; 77 is its identifier")]
    Flow {
        /// Protocol, source and destination; quoted or not.
        #[arg(required = true, num_args = 1..=3, value_name = "TUPLE")]
        tuple: Vec<String>,
    },
    /// Say who had an external address and port, now or long ago.
    ///
    /// Answers from the files of the session log and from the flows there are: every flow that had
    /// the endpoint then, with its client. Without a time, now.
    Who(WhoArgs),
    /// Show the external addresses: ports used and free, traffic, new flows.
    Pools,
    /// List external ports that were asked for, ask for one, or withdraw one.
    ///
    /// Those that the configuration forwards are listed too; they change with the configuration only.
    Mappings {
        /// What is to be done [default: list].
        #[command(subcommand)]
        command: Option<MappingsCommand>,
    },
    /// Show dropped packets by reason, with the sentence that explains it.
    Drops {
        /// Also reasons that never occurred.
        #[arg(long)]
        all: bool,
    },
    /// Show what became of every packet: each way out of the packet path has a counter.
    Counters,
    /// Show the BGP peers, or everything about one; end a session, or say all again.
    ///
    /// Without a verb, one line for each peer. Prefixes are counted as told to the peer/told by it.
    #[command(after_help = "\
Examples:
  egret bgp
  egret bgp show leaf-1
  egret bgp refresh leaf-1     after a change of the router's filters
  egret bgp reset leaf-1")]
    Bgp {
        /// What is to be done [default: list].
        #[command(subcommand)]
        command: Option<BgpCommand>,
    },
    /// Show the ways that BFD watches: their states, timers, and how often they were lost.
    ///
    /// TX and RX are how far apart packets are, as agreed, ours and the other side's; after DETECT without
    /// one the way is gone. GAP is the longest time between two packets since the session came up: near
    /// DETECT, the timers are too fast for this way or this machine.
    Bfd,
    /// Show the gateways that share external addresses with this one, make their certificates, replace them.
    ///
    /// Flows are divided into buckets, by external port. OWNS says in how many of them a member begins flows;
    /// SERVES TOO, in how many more it still has flows from before another came to own them.
    #[command(after_help = "\
Examples:
  egret cluster
  egret cluster certificates --name west --directory west gw1 gw2 gw3
  egret cluster roll --via 'ssh {name} egret' --run 'ssh {name} systemctl restart egretd'")]
    Cluster {
        /// What is to be done [default: show].
        #[command(subcommand)]
        command: Option<ClusterCommand>,
    },
    /// Say which member of the cluster serves a flow, and why.
    ///
    /// Of any flow, whether there is one or not: a protocol, a source and a destination, as a packet shows them on
    /// either side of the gateway; or an external address and port. Every member answers the same, but for whether
    /// it has the flow itself.
    #[command(after_help = "\
Examples:
  egret owner tcp 10.1.0.7:40000 198.51.100.9:5432
  egret owner 192.0.2.10:40000")]
    Owner {
        /// Protocol, source and destination, or an external address and port; quoted or not.
        #[arg(required = true, num_args = 1..=3, value_name = "TUPLE")]
        tuple: Vec<String>,
    },
    /// Have routers send elsewhere, and wait until no traffic comes any more and others have all flows.
    ///
    /// Routers are first asked to prefer others; when traffic has ebbed, or the time is over that `bgp.drain`
    /// gives, routes are withdrawn. In a cluster whose members copy flows, other members take those of this one
    /// meanwhile. The exit status is 0 if traffic had ebbed and others have all flows, and 1 if not, or if
    /// somebody ended the drain. To be interrupted ends the waiting, not the drain.
    #[command(after_help = "\
Examples:
  egret drain && systemctl stop egretd     before the machine is taken down
  egret drain --no-wait                    and `egret bgp` says later how it stands
  egret undrain                            to serve again")]
    Drain(WaitArgs),
    /// End a drain: announce routes as before.
    ///
    /// In a cluster whose members copy flows, waits until this one has those that it is to serve.
    Undrain(WaitArgs),
    /// Put a configuration in force.
    ///
    /// The daemon applies the difference to what is in force, and touches no live flow. A
    /// configuration with an error changes nothing.
    Apply(ApplyArgs),
    /// Look for problems in configurations, without a daemon.
    ///
    /// Says what the daemon would say. Whether an interface exists only the daemon knows.
    Check {
        /// The files; `-` is standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Watch rates, flows, ports and drops, refreshed every second.
    ///
    /// On a terminal a screen like that of `top`: `q` or Ctrl-C ends it. Elsewhere a line for each
    /// interval, with --json an object for each. It goes on while the daemon restarts: packets do
    /// too.
    Watch(WatchArgs),
    /// Print the configuration in force, as it was written.
    Config,
    /// Print the metrics in the Prometheus text format.
    Metrics,
    /// Print a script that completes this command's arguments in a shell.
    #[command(after_help = "\
Examples:
  egret completions bash > /etc/bash_completion.d/egret
  egret completions zsh > /usr/local/share/zsh/site-functions/_egret
  egret completions fish > ~/.config/fish/completions/egret.fish")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the man page, or write those of all commands.
    Man {
        /// Write all pages into this directory, `egret.1`, `egret-flows.1` and so on.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Which flows are listed.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Everything that is given must hold. An ENDPOINT is an address (10.1.2.3, 2001:db8::7), a prefix \
(10.1.0.0/16, 2001:db8::/32), an address and a port (10.1.2.3:443, [2001:db8::7]:443), or a port alone \
(:443).

Examples:
  egret flows --client 10.1.0.0/16 --state established
  egret flows --remote :5432 --count
  egret flows --external 192.0.2.10:40000 --protocol tcp     who had this port?")]
pub struct FlowsArgs {
    /// The internal endpoint.
    #[arg(long, value_name = "ENDPOINT")]
    pub client: Option<String>,
    /// The external endpoint that stands for the client.
    #[arg(long, value_name = "ENDPOINT")]
    pub external: Option<String>,
    /// The endpoint that the client talks to.
    #[arg(long, value_name = "ENDPOINT")]
    pub remote: Option<String>,
    /// The protocol.
    #[arg(long, value_parser = one_of(&Protocol::ALL, Protocol::label))]
    pub protocol: Option<Protocol>,
    /// The state.
    #[arg(long, value_parser = one_of(&FlowState::ALL, FlowState::label))]
    pub state: Option<FlowState>,
    /// The pool that the external address is from.
    #[arg(long, value_name = "NAME")]
    pub pool: Option<String>,
    /// List at most this many; 0 lists all [default: 100 in a table, all in JSON].
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Only count the flows that match, live.
    #[arg(long, conflicts_with = "limit")]
    pub count: bool,
}

impl FlowsArgs {
    /// The question to the daemon. There a limit of zero only counts, and none lists all.
    pub fn query(self, json: bool) -> FlowsQuery {
        let limit = match self.limit {
            _ if self.count => Some(0),
            Some(0) => None,
            Some(limit) => Some(limit),
            None if json => None,
            None => Some(LIMIT_DEFAULT),
        };
        FlowsQuery {
            client: self.client,
            external: self.external,
            remote: self.remote,
            protocol: self.protocol,
            state: self.state,
            pool: self.pool,
            limit,
        }
    }
}

/// Whose endpoint, and when.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A TIME is RFC 3339 with its zone (2026-11-03T14:05:00Z), or how long ago it was (-10m, -2h4m).

Examples:
  egret who 192.0.2.10:40000/tcp --at 2026-11-03T14:05:00Z
  egret who 192.0.2.10:40000/udp --since -2h --until -1h
  egret who '[2001:db8::10]:40000/tcp' --at -10m
  egret who 192.0.2.10:77/icmp        a ping that goes on; 77 is its identifier")]
pub struct WhoArgs {
    /// Address, port and protocol, as the remote saw them.
    #[arg(value_name = "ADDRESS:PORT/PROTO")]
    pub external: String,
    /// At this moment.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with_all = ["since", "until"])]
    pub at: Option<String>,
    /// At any moment from this one on.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// At any moment until this one [default: now].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
}

impl WhoArgs {
    /// The question to the daemon.
    pub fn query(self) -> WhoQuery {
        WhoQuery {
            external: self.external,
            at: self.at,
            since: self.since,
            until: self.until,
        }
    }
}

/// What is done about external ports.
#[derive(Clone, Debug, Subcommand)]
pub enum MappingsCommand {
    /// List them.
    List,
    /// Ask for an external port that leads to an internal endpoint, or for more time for it.
    ///
    /// The client must be one that the rules give a pool. A mapping that nobody renews ends; the flows
    /// it has go on until they end.
    Add(AddArgs),
    /// Withdraw what was granted to an internal endpoint.
    ///
    /// The flows it has go on until they end.
    Remove(RemoveArgs),
}

/// What is done about BGP peers.
#[derive(Clone, Debug, Subcommand)]
pub enum BgpCommand {
    /// List them.
    List,
    /// Show everything about a peer: what was agreed, what it is told, and what happened.
    ///
    /// Of a range, all that called.
    Show {
        /// The peer's name.
        #[arg(value_name = "NAME")]
        peer: String,
    },
    /// End the session with a peer, and begin another.
    ///
    /// Unless graceful restart has it keep them, the peer drops the routes to this gateway until there is a
    /// session again.
    Reset {
        /// The peer's name.
        #[arg(value_name = "NAME")]
        peer: String,
    },
    /// Say everything to a peer again, and ask it to do the same (RFC 2918).
    ///
    /// The session goes on.
    Refresh {
        /// The peer's name.
        #[arg(value_name = "NAME")]
        peer: String,
    },
}

/// What is done about a cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show the gateways.
    Show,
    /// Make the certificates by which members know each other, without a daemon.
    ///
    /// What members need to copy flows to each other: for each a certificate and its key, signed by a CA that
    /// is the cluster's own. If the directory has no CA yet, one is made there. No file is ever overwritten: a
    /// later run adds members, or renews one whose files were moved away.
    Certificates(CertificatesArgs),
    /// Replace all members one after the other, without losing a connection.
    ///
    /// Begins if all members are up and have each other's flows. Then, for one after the other: it is drained, until
    /// others have all its flows; a command of yours is run, which restarts its daemon, upgrades it or what you
    /// like; and it is waited until it is back, and all see that all is well. Stops at the first failure, says how
    /// things stand, and goes on with `--from`. To be interrupted leaves the member at hand as it is.
    Roll(RollArgs),
}

/// Which members are rolled, and how.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
{name} stands for the member's name in both commands. They are run by /bin/sh on this machine, which needs no daemon
if the members are named.

Examples:
  egret cluster roll --via 'ssh {name} egret' --run 'ssh {name} systemctl restart egretd'
  egret cluster roll --via 'ssh {name} egret' --run './upgrade {name}' gw1 gw2 gw3
  egret cluster roll --via 'ssh {name} egret' --run './upgrade {name}' --from gw2")]
pub struct RollArgs {
    /// How `egret` is run on a member.
    #[arg(long, value_name = "COMMAND")]
    pub via: String,
    /// What is run for a member once others have its flows; it has done its part when it has ended.
    #[arg(long, value_name = "COMMAND")]
    pub run: String,
    /// All members, in the order in which they are rolled [default: as this machine's daemon has them].
    #[arg(value_name = "MEMBER")]
    pub members: Vec<String>,
    /// Begin with this member, which may be drained: those before it are done.
    #[arg(long, value_name = "MEMBER")]
    pub from: Option<String>,
    /// How long flows may take from one member to others, and a member to be back, 90s, 10m, 1h.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = lifetime)]
    pub timeout: Duration,
}

/// Whose certificates, and where.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  egret cluster certificates --name west --directory west gw1 gw2 gw3
  egret cluster certificates --directory west gw4        another member, later")]
pub struct CertificatesArgs {
    /// The members, by their names in `cluster.members`.
    #[arg(required = true, value_name = "MEMBER")]
    pub members: Vec<String>,
    /// Where the files are, and those of the CA; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub directory: PathBuf,
    /// The cluster's name, which its CA has in its own; wanted if the CA is to be made.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// For how many days members' certificates are valid, if the CA is for so long.
    #[arg(
        long,
        value_name = "DAYS",
        default_value_t = DAYS_DEFAULT,
        value_parser = clap::value_parser!(u16).range(1..=3650)
    )]
    pub days: u16,
}

/// Which external port, for whom, and for how long.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  egret mappings add tcp 10.1.0.7:8443
  egret mappings add tcp 10.1.0.7:8443 --external :443 --lifetime 12h --owner team-a
  egret mappings add udp 10.1.0.7:5060 --external 192.0.2.10:5060 --only
  egret mappings add tcp '[fd00::7]:8443' --external 0.0.0.0   of IPv4, through the NAT64")]
pub struct AddArgs {
    /// tcp or udp.
    #[arg(value_parser = one_of(&PORTED, Protocol::label))]
    pub protocol: Protocol,
    /// The internal endpoint, an address and a port.
    #[arg(value_name = "ENDPOINT")]
    pub internal: String,
    /// The external endpoint that would be best: an address, a port (:443), or both; 0.0.0.0 and [::] are
    /// any address of their version.
    #[arg(long, value_name = "ENDPOINT")]
    pub external: Option<String>,
    /// Rather none than another external endpoint than that.
    #[arg(long, requires = "external")]
    pub only: bool,
    /// For how long, 90s, 30m, 12h; at most one day [default: 2h].
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub lifetime: Option<Duration>,
    /// A name that must be given again to renew or withdraw the mapping.
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
}

/// Which external port is no longer needed.
#[derive(Args, Clone, Debug)]
pub struct RemoveArgs {
    /// tcp or udp.
    #[arg(value_parser = one_of(&PORTED, Protocol::label))]
    pub protocol: Protocol,
    /// The internal endpoint, an address and a port.
    #[arg(value_name = "ENDPOINT")]
    pub internal: String,
    /// The name that was given when it was asked for.
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
}

/// What is put in force, and how.
#[derive(Args, Debug)]
pub struct ApplyArgs {
    /// The configuration; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only show what would change.
    #[arg(long, conflicts_with = "save")]
    pub dry_run: bool,
    /// Also write it to the daemon's own file, so that a restart finds it.
    #[arg(long)]
    pub save: bool,
}

/// Whether it is waited for, and for how long.
#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// Only begin.
    #[arg(long)]
    pub no_wait: bool,
    /// How long flows may take from one member to others, 90s, 10m, 1h; of a drain, once routes are gone.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = lifetime)]
    pub timeout: Duration,
}

/// How long and how often is watched.
#[derive(Args, Clone, Debug)]
pub struct WatchArgs {
    /// Seconds between two refreshes, from 0.1 to 3600.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: Duration,
    /// End after this many refreshes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// Parses one of the words that `label` gives to `all`.
fn one_of<T>(all: &'static [T], label: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(move |value| label(*value))).try_map(move |word| {
        all.iter()
            .copied()
            .find(|value| label(*value) == word)
            .ok_or("not a value of this option")
    })
}

/// The protocols that have ports.
const PORTED: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn lifetime(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(|unit: char| unit.is_ascii_alphabetic()) {
        Some(number) => (number, text.get(number.len()..).unwrap_or_default()),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = number.parse().ok().zip(seconds);
    seconds
        .and_then(|(number, unit): (u64, u64)| number.checked_mul(unit))
        .filter(|seconds| (1..=86_400).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "a time from 1s to 1d is wanted, such as 90s, 30m or 12h".to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|interval| (INTERVAL_MIN..=INTERVAL_MAX).contains(interval))
        .ok_or_else(|| "seconds from 0.1 to 3600 are wanted".to_owned())
}

#[cfg(test)]
mod tests;
