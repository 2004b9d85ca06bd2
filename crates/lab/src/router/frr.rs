//! FRR: zebra, which writes the kernel's routes, bgpd and bfdd. Each is asked by its own terminal socket.

use std::{net::IpAddr, process::Command};

use serde_json::Value;

use super::{Neighbour, Path, Router, RouterPlan, Session, control::Control};
use crate::Error;

/// Behind a command's answer stand three zeros and what it returned.
const END: [u8; 3] = [0; 3];

pub(super) fn start(router: &mut Router, plan: &RouterPlan) -> Result<(), Error> {
    // They want a user and a group that are in no file of this machine's, so they see others.
    router.write("passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
    router.write("group", "root:x:0:\nfrrvty:x:106:root\n")?;
    router.write("vtysh.conf", "")?;
    router.write("zebra.conf", "hostname router\n")?;
    router.write("bfdd.conf", "hostname router\n")?;
    router.write("bgpd.conf", &configuration(plan))?;
    for program in ["zebra", "bfdd", "bgpd"] {
        let command = command(router, program);
        router.run(program, command, |router| {
            ask(router, program, "show version").is_ok()
        })?;
    }
    Ok(())
}

fn command(router: &Router, program: &str) -> Command {
    let folder = router.folder.display();
    let binary = router.root.join("usr/lib/frr").join(program);
    // A router's BFD does not wait for a CPU, and so this one does not.
    let (first, more) = match program {
        "bfdd" => ("chrt --fifo 20", format!("--bfdctl {folder}/bfdd.sock")),
        _ => ("", String::new()),
    };
    let script = format!(
        "mount --bind {folder}/passwd /etc/passwd && mount --bind {folder}/group /etc/group && \
         exec {first} {} -u root -g root -f {folder}/{program}.conf -i {folder}/{program}.pid \
         --vty_socket {folder} -z {folder}/zserv.api -A 127.0.0.1 -P 0 --log stdout {more}",
        binary.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    command.env("LD_LIBRARY_PATH", router.libraries());
    command
}

fn configuration(plan: &RouterPlan) -> String {
    let mut lines = vec![
        "hostname router".to_owned(),
        "debug bgp neighbor-events".to_owned(),
        format!("router bgp {}", plan.asn),
        format!(" bgp router-id {}", plan.id),
        " no bgp ebgp-requires-policy".to_owned(),
        " no bgp default ipv4-unicast".to_owned(),
        " no bgp network import-check".to_owned(),
        " bgp bestpath as-path multipath-relax".to_owned(),
    ];
    let mut announced = [Vec::new(), Vec::new()];
    for neighbour in &plan.neighbours {
        let it = called(neighbour);
        let hold = neighbour.hold_time.as_secs();
        let mut say = |words: &str| lines.push(format!(" neighbor {it} {words}"));
        match &neighbour.interface {
            Some(_) => say(&format!("interface remote-as {}", neighbour.asn)),
            None => say(&format!("remote-as {}", neighbour.asn)),
        }
        say(&format!("timers {} {hold}", hold / 3));
        say("timers connect 1");
        say("advertisement-interval 0");
        if let Some(password) = &neighbour.password {
            say(&format!("password {password}"));
        }
        if neighbour.ttl_security {
            say("ttl-security hops 1");
        }
        if neighbour.is_passive {
            say("passive");
        }
        if let Some(interval) = neighbour.bfd {
            let interval = interval.as_millis();
            say(&format!("bfd 3 {interval} {interval}"));
        }
        for prefix in &neighbour.announced {
            announced[usize::from(prefix.contains(':'))].push(prefix.clone());
        }
    }
    for (family, announced) in ["ipv4", "ipv6"].iter().zip(announced) {
        lines.push(format!(" address-family {family} unicast"));
        lines.push("  maximum-paths 16".to_owned());
        for prefix in announced {
            lines.push(format!("  network {prefix}"));
        }
        for neighbour in &plan.neighbours {
            lines.push(format!("  neighbor {} activate", called(neighbour)));
        }
        lines.push(" exit-address-family".to_owned());
    }
    lines.push("exit".to_owned());
    lines.join("\n") + "\n"
}

/// What the configuration calls a neighbour.
fn called(neighbour: &Neighbour) -> String {
    match &neighbour.interface {
        Some(interface) => interface.clone(),
        None => neighbour.address.to_string(),
    }
}

fn ask(router: &Router, program: &str, question: &str) -> Result<String, Error> {
    let socket = router.folder.join(format!("{program}.vty"));
    let asked = || {
        let mut control = Control::connect(&socket)?;
        control.ask(b"enable\0", ends)?;
        control.ask(format!("{question}\0").as_bytes(), ends)
    };
    let answer = asked().map_err(Error::file("ask", &socket))?;
    let text = answer.strip_suffix(&[0]).unwrap_or(&answer);
    Ok(String::from_utf8_lossy(text)
        .trim_end_matches('\0')
        .to_owned())
}

/// Whether an answer is whole: the last byte is what the command returned.
fn ends(answer: &[u8]) -> bool {
    answer
        .split_last()
        .is_some_and(|(_, before)| before.ends_with(&END))
}

fn ask_json(router: &Router, program: &str, question: &str) -> Result<Value, Error> {
    let answer = ask(router, program, question)?;
    serde_json::from_str(&answer).map_err(|_| router.unexpected(question, &answer))
}

pub(super) fn session(router: &Router, neighbour: IpAddr) -> Result<Session, Error> {
    let question = format!("show bgp neighbors {neighbour} json");
    let answer = ask_json(router, "bgpd", &question)?;
    let about = &answer[neighbour.to_string()];
    Ok(Session {
        is_established: about["bgpState"] == "Established",
        words: format!(
            "{} {} {} {}",
            about["bgpState"],
            about["lastResetDueTo"],
            about["lastErrorCodeSubcode"],
            about["lastShutdownDescription"]
        ),
    })
}

pub(super) fn paths(router: &Router) -> Result<Vec<Path>, Error> {
    let mut paths = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let all = ask_json(router, "bgpd", &format!("show bgp {family} unicast json"))?;
        let Some(routes) = all["routes"].as_object() else {
            continue;
        };
        for prefix in routes.keys() {
            let question = format!("show bgp {family} unicast {prefix} json");
            let detail = ask_json(router, "bgpd", &question)?;
            for path in detail["paths"].as_array().into_iter().flatten() {
                // Its own have no neighbour.
                if path["aspath"]["length"] == 0 {
                    continue;
                }
                paths.push(Path {
                    prefix: prefix.clone(),
                    next_hop: text(&path["nexthops"][0]["ip"]),
                    as_path: text(&path["aspath"]["string"]),
                    communities: list(&path["community"]),
                    large_communities: list(&path["largeCommunity"]),
                    med: path["metric"]
                        .as_u64()
                        .and_then(|it| u32::try_from(it).ok()),
                    is_stale: path["stale"] == true,
                });
            }
        }
    }
    Ok(paths)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Communities, those with a name by their numbers.
fn list(value: &Value) -> Vec<String> {
    let list = value["list"].as_array().into_iter().flatten();
    let list = list.filter_map(Value::as_str);
    list.map(|word| match word {
        "gracefulShutdown" | "graceful-shutdown" => "65535:0".to_owned(),
        "noExport" | "no-export" => "65535:65281".to_owned(),
        other => other.to_owned(),
    })
    .collect()
}

pub(super) fn is_bfd_up(router: &Router, neighbour: IpAddr) -> Result<bool, Error> {
    let peers = ask_json(router, "bfdd", "show bfd peers json")?;
    let mut peers = peers.as_array().into_iter().flatten();
    Ok(peers.any(|it| it["peer"] == neighbour.to_string() && it["status"] == "up"))
}

pub(super) fn refresh(router: &Router, neighbour: IpAddr) -> Result<(), Error> {
    ask(router, "bgpd", &format!("clear bgp {neighbour} in")).map(drop)
}
