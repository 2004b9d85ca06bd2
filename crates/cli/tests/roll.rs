//! `egret cluster roll`: what is run for which member, and how the command ends.

use std::{fs, os::unix::fs::PermissionsExt};

use api::http::{Cluster, ClusterMember, Copies, Kept, Sent};

use crate::{Directory, Said, egret};

const NAMES: [&str; 3] = ["gw1", "gw2", "gw3"];

/// A cluster that is well, as one of its members sees it.
fn well(own: &str) -> Cluster {
    let copies = Copies {
        sent: Sent {
            connected: true,
            ..Sent::default()
        },
        kept: Kept {
            connected: true,
            ..Kept::default()
        },
    };
    let member = |name: &str| ClusterMember {
        name: name.to_owned(),
        address: "10.0.0.1".to_owned(),
        state: "up".to_owned(),
        owns: 85,
        serves: 0,
        copies: (name != own).then(|| copies.clone()),
    };
    Cluster {
        name: Some("west".to_owned()),
        own: Some(own.to_owned()),
        settled: true,
        buckets: 256,
        copied: true,
        certificate_until: None,
        members: NAMES.map(member).to_vec(),
    }
}

/// Machines of which `egret` is a script that writes down what it is asked, and answers that all is well.
struct Machines(Directory);

impl Machines {
    fn new() -> Self {
        let machines = Self(Directory::new());
        for name in NAMES {
            machines.say(name, &well(name));
        }
        let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\"; name=$1; shift\n\
                      case \"$*\" in *cluster) cat \"$name.json\";; *) echo \"$name: $*\" >> asked; echo \"$1 ends\";; esac\n";
        let path = machines.0.path("member");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        machines
    }

    /// Has a member see the cluster like this.
    fn say(&self, name: &str, cluster: &Cluster) {
        let json = serde_json::to_vec(cluster).unwrap();
        fs::write(self.0.path(&format!("{name}.json")), json).unwrap();
    }

    fn roll(&self, run: &str, more: &[&str]) -> Said {
        let via = format!("{} {{name}}", self.0.path("member").display());
        let own = ["cluster", "roll", "--via", &via, "--run", run];
        let arguments = [&own[..], &NAMES, more].concat();
        egret(&arguments).output().unwrap().into()
    }

    fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.0.path("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }
}

#[test]
fn members_are_drained_and_the_command_is_run_for_each_in_turn() {
    let machines = Machines::new();

    let said = machines.roll("echo restarted {name}", &[]);

    assert_eq!(said.exit, Some(0), "{}", said.stderr);
    let drains = NAMES.map(|it| format!("{it}: drain --timeout 300s"));
    assert_eq!(machines.asked(), drains);
    for line in [
        "gw2: drains",
        "gw2: drain ends",
        "gw2: restarted gw2",
        "all members are done, and well",
    ] {
        assert!(said.stdout.lines().any(|it| it == line), "{}", said.stdout);
    }
}

#[test]
fn a_command_that_fails_stops_the_roll_and_says_how_to_go_on() {
    let machines = Machines::new();

    let said = machines.roll("test {name} != gw2", &[]);
    let resumed = machines.roll("true {name}", &["--from", "gw2", "--json"]);

    assert_eq!(said.exit, Some(1));
    for words in [
        "stopped at gw2, running: ",
        "It is drained",
        "Done: gw1; not touched: gw3",
        "--from gw2",
    ] {
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    assert_eq!(resumed.exit, Some(0), "{}", resumed.stderr);
    assert_eq!(machines.asked().len(), 4);
    assert!(
        resumed
            .stdout
            .ends_with("{\"member\":\"gw3\",\"step\":\"done\"}\n"),
        "{}",
        resumed.stdout
    );
}

#[test]
fn nothing_is_touched_while_a_member_is_down() {
    let machines = Machines::new();
    let mut seen = well("gw2");
    seen.members[2].state = "down".to_owned();
    machines.say("gw2", &seen);

    let said = machines.roll("true {name}", &[]);

    assert_eq!(said.exit, Some(1));
    assert!(
        said.stderr
            .starts_with("nothing was done: gw2 says that gw3 is down\n"),
        "{}",
        said.stderr
    );
    assert_eq!(machines.asked(), Vec::<String>::new());
}

#[test]
fn a_command_that_names_no_member_or_a_member_that_is_none_is_refused() {
    let machines = Machines::new();

    let alike = machines.roll("systemctl restart egretd", &[]);
    let stranger = machines.roll("true {name}", &["--from", "gw9"]);
    let injected = machines.roll("true {name}", &["gw4; rm"]);

    for (said, why) in [
        (alike, "does not say which member is meant"),
        (stranger, "`gw9` is no member"),
        (injected, "is no member"),
    ] {
        assert_eq!(said.exit, Some(2), "{}", said.stderr);
        assert!(said.stderr.contains(why), "{}", said.stderr);
    }
}
