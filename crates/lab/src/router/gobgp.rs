//! GoBGP: one program, asked by its own command over HTTP/2 in the host.

use std::{net::IpAddr, process::Command};

use serde_json::Value;

use super::{Path, Router, RouterPlan, Session};
use crate::Error;

pub(super) fn start(router: &mut Router, plan: &RouterPlan) -> Result<(), Error> {
    let file = router.write("gobgpd.toml", &configuration(plan))?;
    let mut command = Command::new(router.root.join("usr/bin/gobgpd"));
    command.arg("-f").arg(&file);
    command.args(["--api-hosts", "127.0.0.1:50051", "--log-plain"]);
    router.run("gobgpd", command, |router| ask(router, &["global"]).is_ok())?;
    for neighbour in &plan.neighbours {
        for prefix in &neighbour.announced {
            let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
            ask(router, &["global", "rib", "add", prefix, "-a", family])?;
        }
    }
    Ok(())
}

fn configuration(plan: &RouterPlan) -> String {
    let mut text = format!(
        "[global.config]\n  as = {}\n  router-id = \"{}\"\n  port = 179\n",
        plan.asn, plan.id
    );
    for neighbour in &plan.neighbours {
        let hold = neighbour.hold_time.as_secs();
        text += &format!(
            "[[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"{}\"\n    peer-as = {}\n",
            neighbour.address, neighbour.asn
        );
        if let Some(password) = &neighbour.password {
            text += &format!("    auth-password = \"{password}\"\n");
        }
        text += &format!(
            "  [neighbors.timers.config]\n    connect-retry = 5\n    hold-time = {hold}\n    \
             keepalive-interval = {}\n    idle-hold-time-after-reset = 1\n",
            hold / 3
        );
        if neighbour.is_passive {
            text += "  [neighbors.transport.config]\n    passive-mode = true\n";
        }
        if neighbour.ttl_security {
            text += "  [neighbors.ttl-security.config]\n    enabled = true\n    ttl-min = 255\n";
        }
        if let Some(time) = neighbour.restart {
            text += &format!(
                "  [neighbors.graceful-restart.config]\n    enabled = true\n    restart-time = {}\n",
                time.as_secs()
            );
        }
        for family in ["ipv4-unicast", "ipv6-unicast"] {
            text += &format!(
                "  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      \
                 afi-safi-name = \"{family}\"\n"
            );
            if neighbour.restart.is_some() {
                text +=
                    "    [neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true\n";
            }
        }
    }
    text
}

fn ask(router: &Router, question: &[&str]) -> Result<String, Error> {
    let mut command = Command::new(router.root.join("usr/bin/gobgp"));
    command
        .args(["-u", "127.0.0.1", "-p", "50051"])
        .args(question);
    let output = router.host.run(command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(router.unexpected(&question.join(" "), &format!("{text}{complaint}")))
}

fn ask_json(router: &Router, question: &[&str]) -> Result<Value, Error> {
    let answer = ask(router, question)?;
    let json = serde_json::from_str(&answer);
    json.map_err(|_| router.unexpected(&question.join(" "), &answer))
}

pub(super) fn session(router: &Router, neighbour: IpAddr) -> Result<Session, Error> {
    let words = ask(router, &["neighbor", &neighbour.to_string()])?;
    Ok(Session {
        is_established: words.contains("BGP state = ESTABLISHED"),
        words,
    })
}

pub(super) fn paths(router: &Router) -> Result<Vec<Path>, Error> {
    let mut paths = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let question = ["global", "rib", "-a", family, "-j"];
        // Without any route it says so instead.
        let Ok(all) = ask_json(router, &question) else {
            continue;
        };
        for (prefix, each) in all.as_object().into_iter().flatten() {
            for path in each.as_array().into_iter().flatten() {
                let path = described(prefix, path);
                if !path.as_path.is_empty() {
                    paths.push(path);
                }
            }
        }
    }
    Ok(paths)
}

fn described(prefix: &str, path: &Value) -> Path {
    let mut described = Path {
        prefix: prefix.to_owned(),
        is_stale: path["stale"] == true,
        ..Path::default()
    };
    for attribute in path["attrs"].as_array().into_iter().flatten() {
        let number = |value: &Value| value.as_u64().and_then(|it| u32::try_from(it).ok());
        match attribute["type"].as_u64() {
            Some(2) => {
                let segments = attribute["as_paths"].as_array().into_iter().flatten();
                let numbers = segments.flat_map(|it| it["asns"].as_array().into_iter().flatten());
                let words: Vec<String> = numbers.map(ToString::to_string).collect();
                described.as_path = words.join(" ");
            }
            Some(3 | 14) => {
                if let Some(next_hop) = attribute["nexthop"].as_str() {
                    described.next_hop = next_hop.to_owned();
                }
            }
            Some(4) => described.med = number(&attribute["metric"]),
            Some(8) => {
                let list = attribute["communities"].as_array().into_iter().flatten();
                let list = list.filter_map(number);
                described.communities = list
                    .map(|it| format!("{}:{}", it >> 16, it & 0xffff))
                    .collect();
            }
            Some(32) => {
                let list = attribute["value"].as_array().into_iter().flatten();
                described.large_communities = list
                    .map(|it| format!("{}:{}:{}", it["ASN"], it["LocalData1"], it["LocalData2"]))
                    .collect();
            }
            Some(_) | None => {}
        }
    }
    described
}

pub(super) fn refresh(router: &Router, neighbour: IpAddr) -> Result<(), Error> {
    ask(router, &["neighbor", &neighbour.to_string(), "softresetin"]).map(drop)
}
