//! How the tables of prefixes become others, without a kernel.

use super::*;

fn prefix(internal: &str, external: &str, except: &[&str]) -> FixedPrefix {
    let net = |text: &str| text.parse().expect("a prefix");
    FixedPrefix {
        name: "it".to_owned(),
        internal: net(internal),
        external: net(external),
        except: except.iter().map(|text| net(text)).collect(),
    }
}

/// What tables hold after actions that write prefixes, as keys.
fn act(keys: &mut Vec<FixedKey>, actions: Vec<Action>) {
    for action in actions {
        if let Action::PutFixed(entries) = action {
            keys.extend(entries.iter().map(|(key, _)| *key));
        } else if let Action::RemoveFixed(gone) = action {
            keys.retain(|key| !gone.contains(key));
        } else {
            panic!("of IPv4 prefixes only, not {action:?}");
        }
    }
}

#[test]
fn a_change_is_written_beside_what_is_in_force_and_that_is_removed_before_the_next() {
    let (mut tables, mut config) = (FixedTables::default(), Config::default());
    let mut keys = Vec::new();
    let mut sizes = Vec::new();
    for external in ["198.51.100.0/24", "192.0.2.0/24", "203.0.113.0/24"] {
        let before = in_force(&config);
        let mut actions = Vec::new();
        let wanted = [prefix("10.1.0.0/24", external, &["10.0.0.0/8"])];

        tables.change(&wanted, &mut config, &mut actions);

        act(&mut keys, actions);
        assert_ne!(in_force(&config), before);
        let are_known = |key: &FixedKey| [before, in_force(&config)].contains(&key.version());
        assert!(keys.iter().all(are_known), "{keys:?}");
        sizes.push(keys.len());
    }
    assert_eq!(sizes, [3, 6, 6]);
}

#[test]
fn the_same_again_changes_nothing_and_none_puts_none_in_force() {
    let (mut tables, mut config) = (FixedTables::default(), Config::default());
    let wanted = [prefix("fd01:203:405::/48", "2001:db8:1::/48", &[])];
    tables.change(&wanted, &mut config, &mut Vec::new());
    assert_eq!((config.fixed, config.fixed6), (0, 1));

    let mut actions = Vec::new();
    tables.change(&wanted, &mut config, &mut actions);
    assert_eq!(actions, []);

    tables.change(&[], &mut config, &mut actions);
    assert_eq!(actions, [], "the old version stays until the next");
    assert_eq!((config.fixed, config.fixed6), (0, 0));
}

/// A predecessor was interrupted when it had written version 5 and 4 was in force.
#[test]
fn what_an_interrupted_predecessor_left_does_not_mix_with_the_new() {
    let mut config = Config {
        fixed: 4,
        ..Config::default()
    };
    let left = |version| FixedKey::internal(version, Ip4([10, version as u8, 0, 0]), 24);
    let mut keys = vec![left(4), left(5)];
    let mut tables = FixedTables::found(&config, keys.clone(), Vec::new());

    let mut actions = Vec::new();
    let wanted = [prefix("10.1.0.0/24", "198.51.100.0/24", &[])];
    tables.change(&wanted, &mut config, &mut actions);

    act(&mut keys, actions);
    assert_eq!(config.fixed, 5);
    assert!(
        keys.contains(&left(4)),
        "packets read it until a moment ago"
    );
    assert!(!keys.contains(&left(5)));
}
