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
    assert!(parsed("egret flows --protocol sctp").is_err());
    assert!(parsed("egret flows --state open").is_err());
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
