//! What the command line accepts, and what it asks the daemon for.

use clap::CommandFactory;

use super::*;

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

fn limit(line: &str) -> Option<u32> {
    let cli = parsed(line).unwrap();
    let Command::Flows(flows) = cli.command else {
        panic!("`{line}` lists no flows");
    };
    flows.query(cli.json).limit
}

#[test]
fn the_command_line_contradicts_itself_nowhere() {
    Cli::command().debug_assert();
}

#[test]
fn a_table_has_a_limit_and_json_has_none_unless_one_is_given() {
    assert_eq!(limit("egret flows"), Some(100));
    assert_eq!(limit("egret flows --json"), None);
    assert_eq!(limit("egret flows --limit 7"), Some(7));
    assert_eq!(limit("egret flows --json --limit 7"), Some(7));
}

#[test]
fn no_limit_here_is_the_daemons_absent_one_and_to_count_is_its_zero() {
    assert_eq!(limit("egret flows --limit 0"), None);
    assert_eq!(limit("egret flows --count"), Some(0));
    assert_eq!(limit("egret flows --json --count"), Some(0));
}

#[test]
fn filters_reach_the_question_as_they_were_given() {
    let cli = parsed("egret flows --remote :5432 --protocol tcp --state closing").unwrap();
    let Command::Flows(flows) = cli.command else {
        panic!("no flows");
    };

    let query = serde_urlencoded::to_string(flows.query(false)).unwrap();

    assert_eq!(query, "remote=%3A5432&protocol=tcp&state=closing&limit=100");
}

#[test]
fn a_word_that_no_option_knows_is_refused() {
    assert!(parsed("egret flows --protocol dccp").is_err());
    assert!(parsed("egret flows --state open").is_err());
}

#[test]
fn a_mapping_is_asked_for_with_what_is_known_of_it() {
    let cli = parsed("egret mappings add udp 10.1.0.7:5060 --external :5060 --lifetime 12h --only");
    let Command::Mappings {
        command: Some(MappingsCommand::Add(add)),
    } = cli.unwrap().command
    else {
        panic!("nothing is asked for");
    };
    assert_eq!((add.protocol, add.only), (Protocol::Udp, true));
    assert_eq!(add.lifetime, Some(Duration::from_secs(43_200)));

    assert!(parsed("egret mappings").is_ok());
    assert!(parsed("egret mappings remove tcp 10.1.0.7:443 --owner team-a").is_ok());
    assert!(parsed("egret mappings add icmp 10.1.0.7:7").is_err());
    assert!(parsed("egret mappings add tcp 10.1.0.7:7 --only").is_err());
}

#[test]
fn a_bgp_peer_is_named_where_one_is_meant() {
    for good in [
        "egret bgp",
        "egret bgp list",
        "egret bgp show leaf-1",
        "egret bgp reset leaf-1",
        "egret bgp refresh leaf-1",
    ] {
        assert!(parsed(good).is_ok(), "{good}");
    }
    for bad in ["egret bgp show", "egret bgp reset", "egret bgp leaf-1"] {
        assert!(parsed(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_lifetime_has_a_unit_and_bounds() {
    for (text, seconds) in [
        ("1", 1),
        ("90s", 90),
        ("30m", 1_800),
        ("2h", 7_200),
        ("1d", 86_400),
    ] {
        assert_eq!(lifetime(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    for bad in [
        "",
        "0",
        "s",
        "-1s",
        "2d",
        "1w",
        "1hh",
        "99999999999999999999s",
    ] {
        assert!(lifetime(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_interval_has_bounds() {
    for good in ["0.1", "1", "2.5", "3600"] {
        assert!(interval(good).is_ok(), "{good}");
    }
    for bad in ["0", "0.01", "-1", "nan", "inf", "3601", "1e300", "", "1s"] {
        assert!(interval(bad).is_err(), "{bad}");
    }
}
