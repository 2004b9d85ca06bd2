//! Every configuration that we show to people is one that the gateway takes.

use std::{fs, path::PathBuf};

use gateway::intent::{Action, Prefix64, Realm, parse};

#[test]
fn every_example_is_taken_without_a_warning() {
    let mut seen = 0;
    for entry in fs::read_dir(root("deploy/examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        match parse(name, &text) {
            Ok(parsed) => assert_eq!(parsed.warnings, [], "{name}"),
            Err(problems) => panic!("{name} is refused:\n{problems}"),
        }
        seen += 1;
    }
    assert!(seen >= 4);
}

#[test]
fn the_one_armed_example_has_one_arm() {
    let text = fs::read_to_string(root("deploy/examples/one-arm.yaml")).unwrap();

    let intent = parse("one-arm.yaml", &text).unwrap().intent;

    assert_eq!(intent.interfaces.len(), 1);
    assert_eq!(intent.interfaces[0].realm, Realm::Both);
    assert!(intent.rules.iter().any(|rule| rule.action == Action::Pass));
}

#[test]
fn the_example_of_nat64_leads_from_ipv6_to_ipv4() {
    let text = fs::read_to_string(root("deploy/examples/nat64.yaml")).unwrap();

    let intent = parse("nat64.yaml", &text).unwrap().intent;

    assert_eq!(intent.prefixes, [Prefix64::WELL_KNOWN]);
    let is_v6 = |net: &ipnet::IpNet| net.network().is_ipv6();
    for rule in &intent.rules {
        assert!(rule.sources.iter().all(is_v6));
        assert!(!rule.destinations.iter().any(is_v6));
    }
}

/// A snippet is a whole configuration, or a section that one can add to a small one.
#[test]
fn every_snippet_of_the_reference_is_taken() {
    let manual = fs::read_to_string(root("docs/operate/configuration.md")).unwrap();
    let snippets = snippets(&manual, "yaml");
    assert!(
        snippets.len() >= 9,
        "only {} snippets found",
        snippets.len()
    );

    for (line, snippet) in snippets {
        let text = completed(&snippet);
        if let Err(problems) = parse(&format!("configuration.md:{line}"), &text) {
            panic!("the snippet is refused, completed to:\n{text}\n{problems}");
        }
    }
}

#[test]
fn the_reference_shows_errors_as_they_are_shown() {
    let manual = fs::read_to_string(root("docs/operate/configuration.md")).unwrap();
    let shown = snippets(&manual, "text");
    let refused = snippets(&manual, "yaml-refused");
    assert_eq!(refused.len(), 1);
    let (_, text) = &refused[0];

    let problems = parse("gateway.yaml", text).unwrap_err().to_string();

    let found = shown.iter().any(|(_, text)| text.trim_end() == problems);
    assert!(found, "the reference should show:\n{problems}");
}

#[test]
fn every_field_stands_in_the_reference() {
    let manual = fs::read_to_string(root("docs/operate/configuration.md")).unwrap();
    let fields = [
        "interfaces[].name",
        "interfaces[].realm",
        "interfaces[].mode",
        "pools[].name",
        "pools[].addresses",
        "pools[].ports",
        "rules[].name",
        "rules[].sources",
        "rules[].destinations",
        "rules[].services",
        "rules[].pool",
        "rules[].action",
        "timeouts.tcp_established",
        "timeouts.tcp_opening",
        "timeouts.tcp_closing",
        "timeouts.udp",
        "timeouts.icmp",
        "timeouts.services[].service",
        "timeouts.services[].timeout",
        "pools[].timeouts",
        "pools[].hairpinning",
        "pools[].mss",
        "pools[].overload",
        "pools[].parity",
        "pools[].hold_down",
        "pools[].held_ports",
        "limits.flows",
        "limits.flows6",
        "nat64.prefixes",
        "nat64.lowest_mtu",
        "api.socket",
        "metrics.listen",
        "state",
    ];
    for field in fields {
        assert!(
            manual.contains(&format!("| `{field}` |")),
            "{field} has no row"
        );
    }
}

/// The code blocks of a language, each with the line it begins in.
fn snippets(manual: &str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let fence = format!("```{language}");
    for (index, line) in manual.lines().enumerate() {
        match &mut open {
            Some(_) if line == "```" => found.extend(open.take()),
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
            None if line == fence => open = Some((index + 2, String::new())),
            None => {}
        }
    }
    found
}

/// A snippet with the sections that a configuration needs and it does not show.
fn completed(snippet: &str) -> String {
    let has = |section: &str| snippet.lines().any(|line| line.starts_with(section));
    let mut text = snippet.to_owned();
    if !has("interfaces:") {
        text += "interfaces: [{ name: eth0, realm: both }]\n";
    }
    if !has("pools:") {
        text += "pools: [{ name: team-a, addresses: [192.0.2.10] }]\n";
    }
    if !has("rules:") {
        text += "rules: [{ name: all, sources: [10.0.0.0/8], pool: team-a }]\n";
    }
    text
}

fn root(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", path]
        .iter()
        .collect()
}
