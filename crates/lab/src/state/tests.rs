//! A state file names only what a lab makes.

use super::*;

fn made() -> Made {
    let mut plan = Plan::new("one-2");
    plan.host("gw").role(Role::Gateway);
    plan.host("a");
    Made::of(&plan)
}

#[track_caller]
fn refused(spoil: impl FnOnce(&mut Made)) {
    let mut made = made();
    spoil(&mut made);
    let error = made.check("one-2").unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
}

#[test]
fn a_site_names_what_it_will_make_before_it_exists() {
    let made = made();

    made.check("one-2").unwrap();
    assert_eq!(made.namespaces, ["egret-one-2-gw", "egret-one-2-a"]);
    assert_eq!(made.mounts, [Path::new("/run/egret-lab/one-2/gw/bpf")]);
}

#[test]
fn a_doctored_state_file_cannot_name_what_is_not_the_sites() {
    refused(|made| made.namespaces.push("default".into()));
    refused(|made| made.namespaces.push("egret-other-a".into()));
    refused(|made| made.namespaces.push("egret-one-2-/../../etc".into()));
    refused(|made| made.directory = "/etc".into());
    refused(|made| made.mounts.push("/sys/fs/bpf".into()));
    refused(|made| {
        made.mounts
            .push("/run/egret-lab/one-2/../../../sys/fs/bpf".into())
    });
}

#[test]
fn a_process_is_not_mistaken_for_an_earlier_one_of_the_same_number() {
    let this = ProcessId::of(std::process::id()).unwrap();
    let earlier = ProcessId {
        started_ticks: this.started_ticks - 1,
        ..this
    };

    assert!(this.is_running());
    assert!(!earlier.is_running());
}
