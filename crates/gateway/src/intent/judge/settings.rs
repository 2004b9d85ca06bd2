//! Timeouts, limits, and where the daemon is reached.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use abi::limits::{ERRORS_PER_TICK, FLOWS_DEFAULT, FLOWS_MAX, FLOWS_MIN, FLOWS6_UNUSED};
use api::{Config, config, http::SOCKET};

use super::{
    super::{
        Limits, Pool, PortRange, Prefix64, Protocol, Service, ServiceTimeout, Timeouts,
        report::{Path, Report},
        uses_ipv6,
        words::{self, Complaint, complaint, quoted, spelled},
    },
    accept, given, required,
};

/// Below a second a timeout means nothing: the packet path's clock is coarser.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Above this a timeout is a mistake, and a table that never empties.
const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Where maps, programs and links are pinned unless the configuration says otherwise.
pub const STATE_DEFAULT: &str = "/sys/fs/bpf/egret";

/// Bytes of a unix socket's path: the kernel's 108 without the zero at its end.
pub(super) const SOCKET_PATH_MAX: usize = 107;
/// Bytes of any path: the kernel's `PATH_MAX`, less room for what is pinned below it.
pub(super) const PATH_MAX: usize = 4096 - 256;

/// ICMP errors of a CPU in a tick that nobody needs more of: a tenth of what it can send.
const ICMP_ERRORS_MAX: u32 = 1_000_000;

/// Services with a timeout of their own, in one section: each is looked at for every open flow.
const SERVICES_MAX: usize = 64;

/// A timeout's default, and the shortest that an RFC allows.
struct Standard {
    field: &'static str,
    default: Duration,
    least: Duration,
    rfc: &'static str,
}

const TCP_ESTABLISHED: Standard = Standard {
    field: "tcp_established",
    default: Duration::from_secs(2 * 3600 + 4 * 60),
    least: Duration::from_secs(2 * 3600 + 4 * 60),
    rfc: "RFC 5382 REQ-5",
};
const TCP_OPENING: Standard = Standard {
    field: "tcp_opening",
    default: Duration::from_secs(4 * 60),
    least: Duration::from_secs(4 * 60),
    rfc: "RFC 5382 REQ-5",
};
const TCP_CLOSING: Standard = Standard {
    field: "tcp_closing",
    ..TCP_OPENING
};
const UDP: Standard = Standard {
    field: "udp",
    default: Duration::from_secs(5 * 60),
    least: Duration::from_secs(2 * 60),
    rfc: "RFC 4787 REQ-5",
};
const ICMP: Standard = Standard {
    field: "icmp",
    default: Duration::from_secs(60),
    least: Duration::from_secs(60),
    rfc: "RFC 5508 REQ-2",
};

/// Ten heartbeats of an association that says nothing else (RFC 9260 §16).
const SCTP: Standard = Standard {
    field: "sctp",
    default: Duration::from_secs(5 * 60),
    ..BY_ADDRESS
};
const GRE: Standard = Standard {
    field: "gre",
    ..BY_ADDRESS
};
const ESP: Standard = Standard {
    field: "esp",
    ..BY_ADDRESS
};
/// What is inside a tunnel says something every minute or so (BGP: RFC 4271 §10, IKE's liveness checks),
/// and no port waits for the flow's end. No RFC says how long it must be.
const BY_ADDRESS: Standard = Standard {
    field: "",
    default: Duration::from_secs(10 * 60),
    least: TIMEOUT_MIN,
    rfc: "",
};

pub(super) fn timeouts(config: &Config, report: &mut Report<'_>) -> Timeouts {
    let usual = Timeouts {
        tcp_established: TCP_ESTABLISHED.default,
        tcp_opening: TCP_OPENING.default,
        tcp_closing: TCP_CLOSING.default,
        udp: UDP.default,
        icmp: ICMP.default,
        sctp: SCTP.default,
        gre: GRE.default,
        esp: ESP.default,
    };
    timeouts_in(
        &config.timeouts,
        &Path::ROOT.field("timeouts"),
        &usual,
        report,
    )
}

/// The timeouts of a section; what it leaves out is as `usual`.
pub(super) fn timeouts_in(
    written: &config::Timeouts,
    section: &Path,
    usual: &Timeouts,
    report: &mut Report<'_>,
) -> Timeouts {
    let mut one = |standard: Standard, usual, word| {
        let standard = Standard {
            default: usual,
            ..standard
        };
        timeout(standard, section, word, report)
    };
    Timeouts {
        tcp_established: one(
            TCP_ESTABLISHED,
            usual.tcp_established,
            &written.tcp_established,
        ),
        tcp_opening: one(TCP_OPENING, usual.tcp_opening, &written.tcp_opening),
        tcp_closing: one(TCP_CLOSING, usual.tcp_closing, &written.tcp_closing),
        udp: one(UDP, usual.udp, &written.udp),
        icmp: one(ICMP, usual.icmp, &written.icmp),
        sctp: one(SCTP, usual.sctp, &written.sctp),
        gre: one(GRE, usual.gre, &written.gre),
        esp: one(ESP, usual.esp, &written.esp),
    }
}

/// The timeouts of services in a section.
pub(super) fn services(
    written: &config::Timeouts,
    section: &Path,
    report: &mut Report<'_>,
) -> Vec<ServiceTimeout> {
    let Some((path, list)) = given(report, section, "services", &written.services) else {
        return Vec::new();
    };
    if list.len() > SERVICES_MAX {
        let message = format!("{} services; at most {SERVICES_MAX} fit", list.len());
        report.error(
            &path,
            complaint(message, "write ranges of ports: `tcp/8000-8999`"),
        );
    }
    let entries = list.iter().enumerate();
    let read = entries.filter_map(|(index, entry)| service(entry, &path.item(index), report));
    read.collect()
}

fn service(
    entry: &config::ServiceTimeout,
    path: &Path,
    report: &mut Report<'_>,
) -> Option<ServiceTimeout> {
    let help = "add `service: tcp/5432`";
    let service = required(report, path, "service", &entry.service, help)
        .and_then(|(path, word)| accept(report, &path, words::service(word).and_then(ports)));
    let help = "add `timeout: 12h`";
    let timeout =
        required(report, path, "timeout", &entry.timeout, help).and_then(|(path, word)| {
            let duration = words::duration(word).and_then(|duration| within(duration, word));
            accept(report, &path, duration)
        });
    let (protocol, ports) = service?;
    Some(ServiceTimeout {
        protocol,
        ports,
        timeout: timeout?,
    })
}

/// The ports of a service that has some.
fn ports(service: Service) -> Result<(Protocol, PortRange), Complaint> {
    match service {
        Service::Ports(protocol, first, last) => Ok((protocol, PortRange { first, last })),
        Service::Any | Service::Protocol(_) => Err(complaint(
            "a timeout of its own is for ports",
            "write `tcp/5432` here, or the protocol's timeout beside `services`",
        )),
    }
}

fn within(duration: Duration, word: &str) -> Result<Duration, Complaint> {
    if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&duration) {
        return Ok(duration);
    }
    let (min, max) = (spelled(TIMEOUT_MIN), spelled(TIMEOUT_MAX));
    let message = format!("{} is not from {min} to {max}", quoted(word));
    Err(complaint(message, "write a duration such as `12h`"))
}

/// One timeout. What stands in for a bad one never takes effect: the report has an error.
fn timeout(
    standard: Standard,
    section: &Path,
    word: &Option<String>,
    report: &mut Report<'_>,
) -> Duration {
    let Standard {
        field,
        default,
        least,
        rfc,
    } = standard;
    let Some((path, word)) = given(report, section, field, word) else {
        return default;
    };
    let Some(duration) = accept(report, &path, words::duration(word)) else {
        return default;
    };
    if duration < TIMEOUT_MIN || duration > TIMEOUT_MAX {
        let (min, max) = (spelled(TIMEOUT_MIN), spelled(TIMEOUT_MAX));
        let message = format!("{} is not from {min} to {max}", quoted(word));
        let help = format!("leave it out for `{}`", spelled(default));
        report.error(&path, complaint(message, help));
    } else if duration < least {
        let least = spelled(least);
        let message = format!("{} is shorter than {rfc} allows", quoted(word));
        let help = format!("write `{least}` or more: flows that only pause lose their port");
        report.warning(&path, complaint(message, help));
    }
    duration
}

/// Sizes of tables, and other bounds. The tables of flows with IPv6 addresses cost the same memory, full
/// or empty, so they are small where the configuration has no use for them.
pub(super) fn limits(
    config: &Config,
    pools: &[Pool],
    prefixes: &[Prefix64],
    report: &mut Report<'_>,
) -> Limits {
    let section = Path::ROOT.field("limits");
    let mut number = |name, value: &Option<u64>, (least, most), message: &dyn Fn(u64) -> String| {
        let (path, number) = given(report, &section, name, value)?;
        let whole = u32::try_from(*number).ok();
        let whole = whole.filter(|number| (least..=most).contains(number));
        let help = format!("write a number from {least} to {most}");
        let whole = whole.ok_or_else(|| complaint(message(*number), help));
        accept(report, &path, whole)
    };
    let flows = number(
        "flows",
        &config.limits.flows,
        (FLOWS_MIN, FLOWS_MAX),
        &|flows| format!("a table of {flows} flows cannot be made"),
    );
    let flows6 = number(
        "flows6",
        &config.limits.flows6,
        (FLOWS_MIN, FLOWS_MAX),
        &|flows| format!("a table of {flows} flows cannot be made"),
    );
    let icmp_errors = number(
        "icmp_errors",
        &config.limits.icmp_errors,
        (1, ICMP_ERRORS_MAX),
        &|errors| format!("{errors} ICMP errors are no limit"),
    );
    let flows = flows.unwrap_or(FLOWS_DEFAULT);
    let usual6 = match uses_ipv6(pools, prefixes) {
        true => flows,
        false => FLOWS6_UNUSED,
    };
    Limits {
        flows,
        flows6: flows6.unwrap_or(usual6),
        icmp_errors: icmp_errors.unwrap_or(ERRORS_PER_TICK),
    }
}

pub(super) fn api_socket(config: &Config, report: &mut Report<'_>) -> PathBuf {
    let section = Path::ROOT.field("api");
    given(report, &section, "socket", &config.api.socket)
        .and_then(|(path, word)| accept(report, &path, absolute(word, SOCKET_PATH_MAX, SOCKET)))
        .unwrap_or_else(|| PathBuf::from(SOCKET))
}

pub(super) fn state(config: &Config, report: &mut Report<'_>) -> PathBuf {
    given(report, &Path::ROOT, "state", &config.state)
        .and_then(|(path, word)| accept(report, &path, absolute(word, PATH_MAX, STATE_DEFAULT)))
        .unwrap_or_else(|| PathBuf::from(STATE_DEFAULT))
}

/// A path that means the same wherever the daemon was started.
pub(super) fn absolute(word: &str, bytes_max: usize, example: &str) -> Result<PathBuf, Complaint> {
    if !word.starts_with('/') {
        let message = format!("{} does not begin at the root", quoted(word));
        return Err(complaint(
            message,
            format!("write the whole path, such as `{example}`"),
        ));
    }
    if word.split('/').any(|part| part == "..") {
        let message = format!("{} goes back up by `..`", quoted(word));
        return Err(complaint(
            message,
            format!("write the path as it is, such as `{example}`"),
        ));
    }
    if word.contains(char::is_control) {
        let message = format!("{} has a control character in it", quoted(word));
        return Err(complaint(
            message,
            format!("write a path such as `{example}`"),
        ));
    }
    if word.len() > bytes_max {
        let message = format!(
            "the path has {} bytes; at most {bytes_max} are possible",
            word.len()
        );
        return Err(complaint(
            message,
            format!("write a shorter one, such as `{example}`"),
        ));
    }
    if word.ends_with('/') {
        let message = format!("{} ends with `/`", quoted(word));
        return Err(complaint(
            message,
            format!("end it with a name, as in `{example}`"),
        ));
    }
    Ok(PathBuf::from(word))
}

pub(super) fn metrics(config: &Config, report: &mut Report<'_>) -> Option<SocketAddr> {
    let section = Path::ROOT.field("metrics");
    let (path, word) = given(report, &section, "listen", &config.metrics.listen)?;
    accept(report, &path, listen(word))
}

fn listen(word: &str) -> Result<SocketAddr, Complaint> {
    let message = format!("{} is not an address and a port", quoted(word));
    match word.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(complaint(
            "port 0 means a port that nobody knows",
            "write a number, such as 9469",
        )),
        Ok(address) => Ok(address),
        Err(_) => {
            let port = word
                .rsplit(':')
                .next()
                .and_then(|port| port.parse::<u16>().ok());
            let help = match (word.parse::<Ipv4Addr>(), port) {
                (Ok(address), _) => format!("add the port: `{address}:9469`"),
                (Err(_), Some(port)) => {
                    format!("write `127.0.0.1:{port}` for this host only, `0.0.0.0:{port}` for all")
                }
                (Err(_), None) => "write `127.0.0.1:9469`: names are not looked up".to_owned(),
            };
            Err(complaint(message, help))
        }
    }
}

/// A TCP port that the gateway listens on; of what is no port, what to do about it.
pub(super) fn port(number: u64, default: u16) -> Result<u16, Complaint> {
    let port = u16::try_from(number).ok().filter(|port| *port != 0);
    port.ok_or_else(|| {
        complaint(
            format!("{number} is no port"),
            format!("write a number from 1 to 65535, or leave it out for {default}"),
        )
    })
}
