//! What a configuration means, and the bounds of what is read. How each mistake is shown stands in
//! `tests/malformed`.

use super::*;

/// The smallest useful configuration, for tests that add to it.
const ONE_ARM: &str = "\
interfaces:
  - name: eth0
    realm: both
pools:
  - name: team-a
    addresses: [192.0.2.10]
rules:
  - name: all
    sources: [10.0.0.0/8]
    pool: team-a
";

#[track_caller]
fn parsed(text: &str) -> Parsed {
    parse("gateway.yaml", text).unwrap_or_else(|problems| panic!("refused:\n{problems}"))
}

#[track_caller]
fn intent(text: &str) -> Intent {
    parsed(text).intent
}

/// The problems of a configuration, as `field: message`.
#[track_caller]
fn refused(text: &str) -> Vec<String> {
    let problems = parse("gateway.yaml", text).unwrap_err();
    let short = |problem: &Problem| format!("{}: {}", problem.field, problem.message);
    problems.problems.iter().map(short).collect()
}

fn warnings(text: &str) -> Vec<String> {
    parsed(text)
        .warnings
        .into_iter()
        .map(|problem| problem.message)
        .collect()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter()
        .map(|address| address.parse().unwrap())
        .collect()
}

#[test]
fn everything_that_can_be_said_is_understood() {
    let text = "\
interfaces:
  - name: eth0
    realm: internal
    mode: native-or-generic
  - { name: eth1, realm: external, mode: generic }
pools:
  - name: team-a
    addresses: [192.0.2.16/30, 192.0.2.10]
    ports: 10000-19999
  - name: team-b
    addresses:
      - 192.0.2.11/32
rules:
  - name: inside
    sources: [10.0.0.0/8]
    destinations: [10.0.0.0/8]
    action: pass
  - name: databases
    sources: [10.1.0.0/16, 10.0.7.9]
    destinations: [198.51.100.0/24]
    services: [tcp/8000-8999, udp, tcp/5432, icmp]
    pool: team-a
  - name: rest
    sources: [10.0.0.0/8]
    pool: team-b
timeouts:
  tcp_established: 1d
  tcp_opening: 300s
  tcp_closing: 250s
  udp: 1h30m
  icmp: 90s
nat64:
  prefixes: [64:ff9b::/96]
  lowest_mtu: 1400
limits:
  flows: 1000000
  flows6: 500000
api:
  socket: /run/test.sock
metrics:
  listen: '[::1]:9469'
log:
  sessions:
    events: [closed]
    file: /var/log/test.jsonl
    rotate: {size: 64MiB, age: 1h, keep: 7}
    syslog: tcp://192.0.2.5:601
    ipfix: {collector: '[2001:db8::6]:4739', domain: 42}
state: /sys/fs/bpf/test
";
    let interface = |name: &str, realm, mode| Interface {
        name: name.to_owned(),
        realm,
        mode,
    };
    let translate = |pool: &str| Action::Translate {
        pool: pool.to_owned(),
    };

    let expected = Intent {
        interfaces: vec![
            interface("eth0", Realm::Internal, Mode::NativeOrGeneric),
            interface("eth1", Realm::External, Mode::Generic),
        ],
        pools: vec![
            Pool {
                name: "team-a".to_owned(),
                addresses: addresses(&[
                    "192.0.2.10",
                    "192.0.2.16",
                    "192.0.2.17",
                    "192.0.2.18",
                    "192.0.2.19",
                ]),
                ports: PortRange {
                    first: 10000,
                    last: 19999,
                },
                blocks: None,
                behaviour: Pool::BEHAVIOUR_DEFAULT,
                hold: HoldDown::DEFAULT,
                timeouts: None,
                services: Vec::new(),
                forwards: Vec::new(),
            },
            Pool {
                name: "team-b".to_owned(),
                addresses: addresses(&["192.0.2.11"]),
                ports: PortRange {
                    first: 1024,
                    last: 65535,
                },
                blocks: None,
                behaviour: Pool::BEHAVIOUR_DEFAULT,
                hold: HoldDown::DEFAULT,
                timeouts: None,
                services: Vec::new(),
                forwards: Vec::new(),
            },
        ],
        rules: vec![
            Rule {
                name: "inside".to_owned(),
                sources: vec![net("10.0.0.0/8")],
                destinations: vec![net("10.0.0.0/8")],
                services: vec![Service::Any],
                action: Action::Pass,
                target: None,
                quota: Quota::NONE,
            },
            Rule {
                name: "databases".to_owned(),
                sources: vec![net("10.0.7.9/32"), net("10.1.0.0/16")],
                destinations: vec![net("198.51.100.0/24")],
                services: vec![
                    Service::Protocol(Protocol::Icmp),
                    Service::Protocol(Protocol::Udp),
                    Service::Ports(Protocol::Tcp, 5432, 5432),
                    Service::Ports(Protocol::Tcp, 8000, 8999),
                ],
                action: translate("team-a"),
                target: None,
                quota: Quota::NONE,
            },
            Rule {
                name: "rest".to_owned(),
                sources: vec![net("10.0.0.0/8")],
                destinations: vec![net("0.0.0.0/0"), net("::/0")],
                services: vec![Service::Any],
                action: translate("team-b"),
                target: None,
                quota: Quota::NONE,
            },
        ],
        fixed: Vec::new(),
        prefixes: vec![Prefix64::WELL_KNOWN],
        lowest_mtu6: 1400,
        cluster: None,
        bgp: None,
        bfd: routing::Bfd::default(),
        services: Vec::new(),
        timeouts: Timeouts {
            tcp_established: Duration::from_secs(86_400),
            tcp_opening: Duration::from_secs(300),
            tcp_closing: Duration::from_secs(250),
            udp: Duration::from_secs(5_400),
            icmp: Duration::from_secs(90),
            sctp: Duration::from_secs(300),
            gre: Duration::from_secs(600),
            esp: Duration::from_secs(600),
        },
        limits: Limits {
            flows: 1_000_000,
            flows6: 500_000,
            icmp_errors: 4_000,
        },
        api_socket: PathBuf::from("/run/test.sock"),
        metrics: Some("[::1]:9469".parse().unwrap()),
        log: Some(SessionLog {
            opened: false,
            closed: true,
            file: Some(LogFile {
                path: PathBuf::from("/var/log/test.jsonl"),
                size: 64 << 20,
                age: Duration::from_secs(3_600),
                keep: 7,
            }),
            syslog: Some(Syslog::Tcp("192.0.2.5:601".parse().unwrap())),
            ipfix: Some(Collector {
                address: "[2001:db8::6]:4739".parse().unwrap(),
                domain: 42,
            }),
        }),
        state: PathBuf::from("/sys/fs/bpf/test"),
    };
    assert_eq!(
        parsed(text),
        Parsed {
            intent: expected,
            warnings: Vec::new()
        }
    );
}

#[test]
fn what_is_not_said_has_the_defaults_of_the_rfcs() {
    let intent = intent(ONE_ARM);

    assert_eq!(intent.interfaces[0].mode, Mode::Native);
    assert_eq!(intent.timeouts.tcp_established, Duration::from_secs(7440));
    assert_eq!(intent.timeouts.tcp_opening, Duration::from_secs(240));
    assert_eq!(intent.timeouts.tcp_closing, Duration::from_secs(240));
    assert_eq!(intent.timeouts.udp, Duration::from_secs(300));
    assert_eq!(intent.timeouts.icmp, Duration::from_secs(60));
    assert_eq!(intent.limits.flows, 262_144);
    assert_eq!(intent.api_socket, PathBuf::from("/run/egret/egret.sock"));
    assert_eq!(intent.metrics, None);
    assert_eq!(intent.log, None);
    assert_eq!(intent.state, PathBuf::from("/sys/fs/bpf/egret"));
}

#[test]
fn a_quota_and_what_is_told_of_refusals_are_understood() {
    let text = "
interfaces: [{name: eth0, realm: both}]
pools:
  - {name: quiet, addresses: [192.0.2.10], refusal: silent}
  - {name: usual, addresses: [192.0.2.11]}
rules:
  - name: ci
    sources: [10.7.0.0/16]
    pool: quiet
    quota: {flows: 500, client: {ports: 20, rate: 10, burst: 50}}
  - {name: rest, sources: [10.0.0.0/8], pool: usual, quota: {client: {rate: 10}}}
limits: {icmp_errors: 77}
";

    let intent = intent(text);

    let [quiet, usual] = &intent.pools[..] else {
        panic!("two pools")
    };
    assert_eq!(quiet.behaviour.refusal(), Refusal::Silent);
    assert_eq!(usual.behaviour.refusal(), Refusal::Icmp);
    let [ci, rest] = &intent.rules[..] else {
        panic!("two rules")
    };
    let limits = |flows, ports| abi::Limits { flows, ports };
    let expected = Quota {
        total: limits(500, 0),
        client: limits(0, 20),
        ..Quota::NONE
    };
    assert_eq!(ci.quota, expected.with_rate(10, 50));
    assert_eq!(rest.quota, Quota::NONE.with_rate(10, 10));
    assert_eq!(intent.limits.icmp_errors, 77);
}

#[test]
fn a_pool_says_how_its_ports_are_given_out() {
    let pool = |words: &str| {
        let text = ONE_ARM.replacen("addresses:", &format!("{words}\n    addresses:"), 1);
        intent(&text).pools.remove(0)
    };
    let usual = intent(ONE_ARM).pools.remove(0);
    assert_eq!(usual.hold, HoldDown::DEFAULT);
    assert_eq!(usual.hold.time, Duration::from_secs(120));
    assert!(usual.behaviour.keeps_parity() && !usual.behaviour.overloads());

    let held = pool("hold_down: 90s\n    held_ports: 0").hold;
    assert_eq!((held.time, held.ports), (Duration::from_secs(90), 0));
    assert!(pool("hold_down: 0s").hold.is_off());
    assert!(!pool("parity: off").behaviour.keeps_parity());

    let strictest = Dependence::AddressAndPort;
    for word in ["on", "true"] {
        let shared = pool(&format!("overload: {word}")).behaviour;
        assert!(shared.overloads());
        assert_eq!(shared.mapping(Protocol::Tcp), strictest);
        assert_eq!(shared.filtering(Protocol::Tcp), strictest);
        assert_eq!(shared.mapping(Protocol::Udp), Dependence::Endpoint);
    }
}

#[test]
fn a_session_log_needs_only_a_place() {
    let log = intent(&format!("{ONE_ARM}log: {{sessions: {{file: /x.jsonl}}}}\n")).log;

    let expected = SessionLog {
        opened: true,
        closed: true,
        file: Some(LogFile {
            path: PathBuf::from("/x.jsonl"),
            size: 128 << 20,
            age: Duration::from_secs(86_400),
            keep: 64,
        }),
        syslog: None,
        ipfix: None,
    };
    assert_eq!(log, Some(expected));
}

#[test]
fn the_order_and_repetition_within_lists_mean_nothing() {
    let other = ONE_ARM.replace("[10.0.0.0/8]", "[10.0.0.0/8, 10.0.0.0/8]");

    assert_eq!(intent(&other), intent(ONE_ARM));
}

#[test]
fn an_alias_repeats_a_list() {
    let text = ONE_ARM.replace("[10.0.0.0/8]", "&inside [10.0.0.0/8]")
        + "    destinations: *inside\n    services: [tcp]\n";

    assert_eq!(intent(&text).rules[0].destinations, vec![net("10.0.0.0/8")]);
}

#[test]
fn a_problem_in_what_an_alias_repeats_is_shown_where_it_was_written() {
    let text =
        ONE_ARM.replace("[10.0.0.0/8]", "&inside [10.0.0.1/8]") + "    destinations: *inside\n";

    let problems = parse("gateway.yaml", &text).unwrap_err().problems;

    assert!(problems.iter().all(|problem| problem.line == 9));
}

#[test]
fn a_name_that_looks_like_a_number_stays_as_it_was_written() {
    for name in ["007", "0x10", "1e3", "true", "12345678901234567890123"] {
        let text = ONE_ARM.replace("team-a", name);

        assert_eq!(intent(&text).pools[0].name, name);
    }
}

#[test]
fn a_section_of_which_all_is_commented_out_is_absent() {
    assert_eq!(
        intent(&format!("{ONE_ARM}timeouts:\n#  udp: 3m\n")),
        intent(ONE_ARM)
    );
}

#[test]
fn line_ends_of_another_system_and_a_byte_order_mark_are_read() {
    let text = format!("\u{feff}{}", ONE_ARM.replace('\n', "\r\n"));

    assert_eq!(intent(&text), intent(ONE_ARM));
}

#[test]
fn a_lone_carriage_return_ends_a_line_in_yaml_and_in_reports() {
    let text = ONE_ARM.replace('\n', "\r").replace("both", "bth");

    let problems = parse("gateway.yaml", &text).unwrap_err().problems;

    assert_eq!(
        (problems[0].line, problems[0].excerpt.text.as_str()),
        (3, "    realm: bth")
    );
}

#[test]
fn a_field_by_a_wrong_name_is_not_missing_as_well() {
    let text = ONE_ARM
        .replace("realm", "relm")
        .replace("sources", "source");

    assert_eq!(
        refused(&text),
        [
            "interfaces[0].relm: there is no field `relm`",
            "rules[0].source: there is no field `source`"
        ]
    );
}

#[test]
fn bytes_that_are_not_text_are_refused_where_they_stand() {
    let mut bytes = ONE_ARM.as_bytes().to_vec();
    bytes.extend(b"state: /sys/fs/\xff");

    let problems = parse_bytes("gateway.yaml", &bytes).unwrap_err().problems;

    assert_eq!((problems[0].line, problems[0].column), (11, 16));
    assert!(problems[0].message.contains("UTF-8"));
    assert_eq!(
        parse_bytes("gateway.yaml", ONE_ARM.as_bytes()),
        parse("gateway.yaml", ONE_ARM)
    );
}

#[test]
fn a_file_that_is_too_long_is_refused_unread() {
    let long = "#".repeat(CONFIG_BYTES_MAX) + "\n" + ONE_ARM;

    assert_eq!(refused(&long).len(), 1);
    let fits = format!(
        "{ONE_ARM}#{}",
        "#".repeat(CONFIG_BYTES_MAX - ONE_ARM.len() - 1)
    );
    assert_eq!(intent(&fits), intent(ONE_ARM));
}

#[test]
fn a_pass_rule_may_hold_external_addresses() {
    let text = "\
interfaces: [{ name: eth0, realm: both }]
pools: [{ name: a, addresses: [10.0.0.10] }]
rules:
  - { name: gateway-itself, sources: [10.0.0.10], action: pass }
  - { name: clients, sources: [10.1.0.0/16], pool: a }
";

    assert_eq!(warnings(text), Vec::<String>::new());
}

#[test]
fn the_table_of_rules_has_room_for_as_many_as_are_promised() {
    let with = |count: usize| {
        let rule = |i: usize| {
            let (high, low) = (i / 256, i % 256);
            format!("  - {{ name: r{i}, sources: [10.{high}.{low}.0/24], pool: team-a }}\n")
        };
        let head = ONE_ARM.split("  - name: all").next().unwrap();
        head.to_owned() + &(0..count).map(rule).collect::<String>()
    };

    assert_eq!(
        intent(&with(abi::limits::RULES_MAX)).rules.len(),
        abi::limits::RULES_MAX
    );
    assert_eq!(
        refused(&with(abi::limits::RULES_MAX + 1)),
        ["rules: 1025 rules; at most 1024 fit"]
    );
}

#[test]
fn pools_and_interfaces_are_limited_too() {
    let many =
        |count: usize, line: &dyn Fn(usize) -> String| -> String { (0..count).map(line).collect() };
    let interface = |i| format!("  - {{ name: eth{i}, realm: both }}\n");
    let pool = |i| format!("  - {{ name: p{i}, addresses: [192.0.2.{i}] }}\n");
    let text = |interfaces, pools| {
        format!(
            "interfaces:\n{}pools:\n{}",
            many(interfaces, &interface),
            many(pools, &pool)
        )
    };

    assert_eq!(intent(&text(64, 64)).pools.len(), 64);
    let problems = refused(&text(65, 65));
    assert!(problems.contains(&"interfaces: 65 interfaces; at most 64 fit".to_owned()));
    assert!(problems.contains(&"pools: 65 pools; at most 64 fit".to_owned()));
}

#[test]
fn rules_that_name_more_prefixes_than_fit_are_refused() {
    // Each range that begins and ends next to a large power of two is cut into 30 blocks.
    let range = |i: usize| format!("tcp/{}-{}, ", 1 + 2 * (i % 64), 65534 - 2 * (i / 64));
    let ranges: String = (0..4000).map(range).collect();
    let text = format!("{ONE_ARM}    services: [{ranges}]\n");

    let problems = refused(&text);

    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("rules: the rules have"),
        "{}",
        problems[0]
    );
}

#[test]
fn only_the_first_hundred_errors_are_listed_and_the_others_counted() {
    let text = format!("{ONE_ARM}    destinations: [{}]\n", "x, ".repeat(1000));

    let problems = parse("gateway.yaml", &text).unwrap_err();

    assert_eq!(problems.problems.len(), 100);
    assert_eq!(problems.omitted, 900);
}

#[test]
fn problems_come_in_the_order_of_their_lines() {
    let text = ONE_ARM
        .replace("both", "bth")
        .replace("192.0.2.10", "192.0.2")
        .replace("/8", "/88");

    let problems = parse("gateway.yaml", &text).unwrap_err().problems;

    let lines: Vec<u32> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [3, 6, 9]);
}

#[test]
fn a_configuration_without_rules_is_only_warned_of() {
    let text = "interfaces: [{ name: eth0, realm: both }]";

    assert_eq!(
        warnings(text),
        ["there are no rules, so nothing is translated"]
    );
}

#[test]
fn timeouts_below_the_rfcs_are_only_warned_of() {
    let text = format!("{ONE_ARM}timeouts: {{ udp: 1s, icmp: 59s, tcp_closing: 239s }}\n");

    let warnings = warnings(&text);

    assert_eq!(warnings.len(), 3);
    assert_eq!(intent(&text).timeouts.udp, Duration::from_secs(1));
}

#[test]
fn a_path_that_no_socket_can_have_is_refused() {
    let with = |path: &str| format!("{ONE_ARM}api: {{ socket: \"{path}\" }}\n");

    assert_eq!(refused(&with(&format!("/{}", "s".repeat(107)))).len(), 1);
    assert_eq!(refused(&with("/run/egret\\0.sock")).len(), 1);
    assert_eq!(refused(&with("/run/egret/")).len(), 1);
    assert_eq!(
        intent(&with(&format!("/{}", "s".repeat(106)))).rules.len(),
        1
    );
}

#[test]
fn a_metrics_address_says_what_is_missing() {
    let help = |listen: &str| {
        let text = format!("{ONE_ARM}metrics: {{ listen: '{listen}' }}\n");
        parse("gateway.yaml", &text)
            .unwrap_err()
            .problems
            .remove(0)
            .help
    };

    assert_eq!(help("127.0.0.1"), "add the port: `127.0.0.1:9469`");
    assert!(help(":9469").contains("`0.0.0.0:9469`"));
    assert!(help("gateway.example.com").contains("names are not looked up"));
    assert!(help("127.0.0.1:0").contains("9469"));
}

#[test]
fn tables_for_ipv6_are_small_until_the_configuration_has_use_for_them() {
    let flows6 = |more: &str| intent(&format!("{ONE_ARM}{more}")).limits.flows6;

    assert_eq!(flows6(""), abi::limits::FLOWS6_UNUSED);
    assert_eq!(flows6("nat64: { prefixes: ['64:ff9b::/96'] }"), 262_144);
    assert_eq!(flows6("limits: { flows6: 2048 }"), 2048);
    let with_pool = ONE_ARM.replace("192.0.2.10", "192.0.2.10, '2001:db8::1'");
    let limits = intent(&format!("{with_pool}limits: {{ flows: 5000 }}\n")).limits;
    assert_eq!((limits.flows, limits.flows6), (5000, 5000));
}

#[test]
fn any_destination_is_any_of_both_versions_and_a_prefix_is_of_one() {
    let rule = &intent(ONE_ARM).rules[0];
    assert_eq!(rule.destinations, [net("0.0.0.0/0"), net("::/0")]);

    let text = format!("{ONE_ARM}    destinations: [0.0.0.0/0]\n");
    assert_eq!(intent(&text).rules[0].destinations, [net("0.0.0.0/0")]);
}

const PREFIX: &str = "
interfaces:
  - {name: in0, realm: internal}
  - {name: out0, realm: external}
pools:
  - {name: a, addresses: [192.0.2.1]}
nat64: {prefixes: ['64:ff9b::/96']}
";

#[test]
fn prefixes_are_enough_of_a_configuration_and_the_shorter_end_goes_on_with_zeros() {
    let parsed = parse(
        "test.yaml",
        "interfaces: [{name: in0, realm: internal}, {name: out0, realm: external}]
prefixes:
  - {name: a, internal: 10.1.0.0/24, external: 198.51.100.0/24, except: [10.0.0.0/8, 10.0.0.0/8]}
  - {name: b, internal: 'fd01::/48', external: '2001:db8:1:200::/56'}
",
    )
    .unwrap_or_else(|problems| panic!("{problems}"));

    assert_eq!(parsed.warnings, []);
    let intent = parsed.intent;
    assert_eq!(intent.fixed[0].except, ["10.0.0.0/8".parse().expect("one")]);
    let ends = |prefix: &FixedPrefix| (prefix.internal.to_string(), prefix.external.to_string());
    let expected = ("fd01::/56".to_owned(), "2001:db8:1:200::/56".to_owned());
    assert_eq!(ends(&intent.fixed[1]), expected);
    assert_eq!(
        intent.needs(),
        Needs {
            ipv6: true,
            fixed: true,
            cluster: false,
        }
    );
    assert_eq!(intent.limits.flows6, 1024, "no flow has an IPv6 address");
}

/// RFC 6296 §4.1, and what an address must not mean beside.
#[test]
fn a_prefix_has_two_ends_of_one_version_that_nothing_else_gives_out() {
    for (prefixes, said) in [
        (
            "{internal: 10.1.0.0/24, external: 198.51.100.0/25}",
            "not of one length",
        ),
        (
            "{internal: 10.1.0.0/24, external: 'fd01::/48'}",
            "two versions",
        ),
        (
            "{internal: 'fd01::/65', external: '2001:db8::/48'}",
            "leaves no room",
        ),
        (
            "{internal: 10.1.0.0/24, external: 224.0.0.0/24}",
            "no reply can come back",
        ),
        (
            "{internal: 10.1.0.0/24, external: 192.0.2.0/24}",
            "external address of pool `a`",
        ),
        (
            "{internal: 'fd01::/48', external: '64:ff9b::/48'}",
            "overlaps `64:ff9b::/96`",
        ),
        (
            "{internal: 10.1.0.0/24, external: 10.1.0.0/24}",
            "overlaps `10.1.0.0/24`",
        ),
        ("{internal: 10.1.0.0/24}", "has no `external`"),
        (
            "{internal: 10.1.0.0/24, external: 198.51.100.0/24, except: ['::/0']}",
            "two versions",
        ),
        (
            "{internal: 10.1.0.0/24, external: 198.51.100.0/24}, \
             {name: q, internal: 10.2.0.0/24, external: 198.51.100.0/24}",
            "`external` of prefix `p`",
        ),
        (
            "{internal: 10.1.0.0/24, external: 198.51.100.0/24}, \
             {name: q, internal: 10.1.0.128/25, external: 203.0.113.0/25}",
            "`internal` of prefix `p`",
        ),
    ] {
        let text = format!(
            "{PREFIX}prefixes: [{}]",
            prefixes.replacen('{', "{name: p, ", 1)
        );
        let problems = match parse("test.yaml", &text) {
            Ok(_) => panic!("{prefixes} is taken"),
            Err(problems) => problems.to_string(),
        };
        assert!(problems.contains(said), "{prefixes}: {problems}");
    }
}

#[test]
fn an_endpoint_is_a_rule_before_all_others_whose_flows_go_to_its_target() {
    let endpoints = "endpoints:
  - {name: db, address: 10.99.0.10, service: tcp/5432-5433, to: '198.51.100.4:443', sources: [10.0.0.0/8], pool: team-a}
  - {name: any, address: 10.99.0.11, to: 198.51.100.5, sources: [10.1.0.0/16], pool: team-a}
";
    let intent = intent(&format!("{ONE_ARM}{endpoints}"));

    let [db, any, ..] = &intent.rules[..] else {
        panic!("two rules more")
    };
    assert_eq!(db.destinations, [net("10.99.0.10/32")]);
    assert_eq!(db.services, [Service::Ports(Protocol::Tcp, 5432, 5433)]);
    let target = |last, shift: u16| {
        let address = [198, 51, 100, last].into();
        Some(Target { address, shift })
    };
    assert_eq!(db.target, target(4, 443_u16.wrapping_sub(5432)));
    assert_eq!(any.services, [Service::Any]);
    assert_eq!(any.target, target(5, 0));
    assert!(intent.rules[2..].iter().all(|rule| rule.target.is_none()));
}

const CLUSTER: &str = "cluster:
  name: west
  self: gw1
  secret_file: /etc/egret/cluster.secret
  members: [{name: gw1, address: 10.0.0.11}, {name: gw2, address: 10.0.0.12}]
";

const REPLICATION: &str = "  replication:
    ca_file: /etc/egret/ca.pem
    certificate_file: /etc/egret/gw1.pem
    key_file: /etc/egret/gw1.key
";

#[test]
fn flows_are_copied_only_if_that_is_said_and_by_one_port_unless_another_is_named() {
    let replication = |text: &str| {
        let cluster = intent(&format!("{ONE_ARM}{CLUSTER}{text}")).cluster;
        cluster.expect("it is a member").replication
    };

    assert_eq!(replication(""), None);
    let expected = cluster::Replication {
        port: 3473,
        ca: "/etc/egret/ca.pem".into(),
        certificate: "/etc/egret/gw1.pem".into(),
        key: "/etc/egret/gw1.key".into(),
    };
    assert_eq!(replication(REPLICATION), Some(expected.clone()));
    let expected = cluster::Replication {
        port: 65535,
        ..expected
    };
    let other = format!("{REPLICATION}    port: 65535\n");
    assert_eq!(replication(&other), Some(expected));
}

#[test]
fn to_copy_flows_changes_nothing_about_who_holds_them() {
    let alone = intent(ONE_ARM);
    let without = intent(&format!("{ONE_ARM}{CLUSTER}"));
    let with = intent(&format!("{ONE_ARM}{CLUSTER}{REPLICATION}"));

    let begun = ["flows are copied to other members by port 3473"];
    assert_eq!(crate::changes::between(&without, &with), begun);
    let ended = ["flows are no longer copied to other members"];
    assert_eq!(crate::changes::between(&with, &without), ended);
    assert_eq!(crate::changes::between(&alone, &with).len(), 2);
    assert_eq!(crate::changes::between(&with, &with), [""; 0]);
}
