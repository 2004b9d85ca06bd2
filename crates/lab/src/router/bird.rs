//! BIRD 2: one program, asked by its control socket, which answers in lines with a number before each.

use std::{net::IpAddr, process::Command};

use super::{Path, Router, RouterPlan, Session, control::Control};
use crate::Error;

pub(super) fn start(router: &mut Router, plan: &RouterPlan) -> Result<(), Error> {
    let file = router.write("bird.conf", &configuration(plan))?;
    let mut command = Command::new(router.root.join("usr/sbin/bird"));
    command.env("LD_LIBRARY_PATH", router.libraries());
    command.arg("-f").arg("-c").arg(&file);
    command.arg("-s").arg(router.folder.join("bird.ctl"));
    command.arg("-P").arg(router.folder.join("bird.pid"));
    router.run("bird", command, |router| ask(router, "show status").is_ok())
}

fn configuration(plan: &RouterPlan) -> String {
    let mut text = format!(
        "router id {};\nlog stderr all;\nprotocol device {{ scan time 1; }}\n\
         protocol direct {{ ipv4; ipv6; }}\n",
        plan.id
    );
    for family in ["ipv4", "ipv6"] {
        text += &format!(
            "protocol kernel kernel_{family} {{ merge paths on; {family} {{ import none; \
             export where source = RTS_BGP; }}; }}\n"
        );
    }
    let bfd = plan.neighbours.iter().find_map(|it| it.bfd);
    if let Some(interval) = bfd {
        let interval = interval.as_millis();
        text += &format!(
            "protocol bfd {{ interface \"*\" {{ interval {interval} ms; multiplier 3; }}; }}\n"
        );
    }
    for (number, neighbour) in plan.neighbours.iter().enumerate() {
        for (family, is_ipv6) in [("ipv4", false), ("ipv6", true)] {
            let mine = neighbour
                .announced
                .iter()
                .filter(|it| it.contains(':') == is_ipv6);
            for (index, prefix) in mine.enumerate() {
                text += &format!(
                    "protocol static told_{number}_{family}_{index} {{ {family}; route {prefix} blackhole; }}\n"
                );
            }
        }
        text += &format!(
            "protocol bgp {} {{\n  local as {};\n  neighbor {} as {};\n  direct;\n  hold time {};\n  \
             connect retry time 1;\n  connect delay time 1;\n  error wait time 1, 2;\n  \
             graceful restart aware;\n",
            name(neighbour.address),
            plan.asn,
            neighbour.address,
            neighbour.asn,
            neighbour.hold_time.as_secs(),
        );
        if let Some(password) = &neighbour.password {
            text += &format!("  password \"{password}\";\n");
        }
        if neighbour.ttl_security {
            text += "  ttl security on;\n";
        }
        if neighbour.is_passive {
            text += "  passive on;\n";
        }
        if neighbour.bfd.is_some() {
            text += "  bfd on;\n";
        }
        for family in ["ipv4", "ipv6"] {
            text += &format!("  {family} {{ import all; export where source = RTS_STATIC; }};\n");
        }
        text += "}\n";
    }
    text
}

/// What a session with a neighbour is called.
fn name(neighbour: IpAddr) -> String {
    let word = neighbour.to_string().replace(['.', ':'], "_");
    format!("n{word}")
}

/// Asks something; the answer has its lines without the numbers.
fn ask(router: &Router, question: &str) -> Result<String, Error> {
    let socket = router.folder.join("bird.ctl");
    let asked = || {
        let mut control = Control::connect(&socket)?;
        control.ask(b"", is_whole)?;
        control.ask(format!("{question}\n").as_bytes(), is_whole)
    };
    let answer = asked().map_err(Error::file("ask", &socket))?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let lines = answer.lines().map(|line| match line.get(..5) {
        Some(number) if is_number(number) => line.get(5..).unwrap_or_default(),
        Some(_) | None => line,
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn is_number(word: &str) -> bool {
    word.bytes().take(4).all(|it| it.is_ascii_digit()) && word.ends_with([' ', '-'])
}

/// An answer ends with a line whose number has a space behind it.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let last = text.lines().last().unwrap_or_default();
    let is_last = |number: &str| is_number(number) && number.ends_with(' ');
    text.ends_with('\n') && last.get(..5).is_some_and(is_last)
}

pub(super) fn session(router: &Router, neighbour: IpAddr) -> Result<Session, Error> {
    let answer = ask(router, &format!("show protocols all {}", name(neighbour)))?;
    Ok(Session {
        is_established: answer.lines().any(|line| {
            line.trim_start().starts_with("BGP state:") && line.ends_with("Established")
        }),
        words: answer,
    })
}

pub(super) fn paths(router: &Router) -> Result<Vec<Path>, Error> {
    let answer = ask(router, "show route all where source = RTS_BGP")?;
    let mut paths: Vec<Path> = Vec::new();
    let mut prefix = String::new();
    for line in answer.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        // A way begins with its prefix, or with blanks if it has the prefix of the one before.
        if line.contains(" unicast [") {
            if word != "unicast" {
                prefix = word.to_owned();
            }
            paths.push(Path {
                prefix: prefix.clone(),
                is_stale: line.contains('s') && line.contains("(100s)"),
                ..Path::default()
            });
            continue;
        }
        let Some(path) = paths.last_mut() else {
            continue;
        };
        let Some((field, value)) = line.trim().split_once(':') else {
            continue;
        };
        let value = value.trim();
        match field {
            "BGP.as_path" => path.as_path = value.to_owned(),
            "BGP.next_hop" => {
                path.next_hop = value.split(' ').next().unwrap_or_default().to_owned();
            }
            "BGP.med" => path.med = value.parse().ok(),
            "BGP.community" => path.communities = numbers(value),
            "BGP.large_community" => path.large_communities = numbers(value),
            _ => {}
        }
    }
    Ok(paths)
}

/// `(65535,0) (65000,1)` in the usual form.
fn numbers(text: &str) -> Vec<String> {
    let groups = text.split(')').map(|it| it.trim().trim_start_matches('('));
    let groups = groups.filter(|it| !it.is_empty());
    groups
        .map(|it| it.replace(", ", ":").replace(',', ":"))
        .collect()
}

pub(super) fn is_bfd_up(router: &Router, neighbour: IpAddr) -> Result<bool, Error> {
    let answer = ask(router, "show bfd sessions")?;
    let address = neighbour.to_string();
    Ok(answer.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first() == Some(&address.as_str()) && words.get(2) == Some(&"Up")
    }))
}

pub(super) fn refresh(router: &Router, neighbour: IpAddr) -> Result<(), Error> {
    ask(router, &format!("reload in {}", name(neighbour))).map(drop)
}
