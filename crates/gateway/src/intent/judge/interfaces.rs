//! Which interfaces, and that both realms can be reached by them.

use abi::limits::INTERFACES_MAX;
use api::{Config, config};

use super::{
    super::{
        Interface, Mode, Realm,
        report::{Path, Report},
        words::{self, complaint},
    },
    Names, accept, given, required,
};

const REALMS: [(&str, Realm); 3] = [
    ("internal", Realm::Internal),
    ("external", Realm::External),
    ("both", Realm::Both),
];

const MODES: [(&str, Mode); 3] = [
    ("native", Mode::Native),
    ("native-or-generic", Mode::NativeOrGeneric),
    ("generic", Mode::Generic),
];

pub(super) fn judge(config: &Config, report: &mut Report<'_>) -> Vec<Interface> {
    let help = "list what packets come in by: `- name: eth0` and `realm: both` for one arm";
    let found = required(report, &Path::ROOT, "interfaces", &config.interfaces, help);
    let Some((path, list)) = found else {
        return Vec::new();
    };
    if list.is_empty() {
        report.error(
            &path,
            complaint("a gateway without interfaces sees no packet", help),
        );
        return Vec::new();
    }
    if list.len() > INTERFACES_MAX {
        let message = format!("{} interfaces; at most {INTERFACES_MAX} fit", list.len());
        report.error(&path, complaint(message, "give some to another gateway"));
    }
    let mut names = Names::of("interface");
    let interfaces: Vec<Interface> = list
        .iter()
        .enumerate()
        .filter_map(|(index, interface)| one(interface, &path.item(index), &mut names, report))
        .collect();
    if interfaces.len() == list.len() {
        both_realms(&interfaces, &path, report);
    }
    interfaces
}

fn one(
    interface: &config::Interface,
    path: &Path,
    names: &mut Names,
    report: &mut Report<'_>,
) -> Option<Interface> {
    let help = "add `name: eth0`, as `ip link` shows it";
    let name = required(report, path, "name", &interface.name, help).and_then(|(path, word)| {
        names.take(report, word, &path);
        accept(report, &path, words::interface_name(word))
    });
    let help = "add `realm: internal`, `realm: external`, or `realm: both` for one arm";
    let realm = required(report, path, "realm", &interface.realm, help)
        .and_then(|(path, word)| accept(report, &path, words::choice("realm", &REALMS, word)));
    let mode = given(report, path, "mode", &interface.mode)
        .map_or(Some(Mode::Native), |(path, word)| {
            accept(report, &path, words::choice("mode", &MODES, word))
        });
    Some(Interface {
        name: name?,
        realm: realm?,
        mode: mode?,
    })
}

fn both_realms(interfaces: &[Interface], path: &Path, report: &mut Report<'_>) {
    let faces = |wanted| {
        interfaces.iter().any(|interface| match interface.realm {
            Realm::Both => true,
            realm @ (Realm::Internal | Realm::External) => realm == wanted,
        })
    };
    if !faces(Realm::Internal) {
        let message = "no interface faces the internal realm, so no flow can begin";
        let help = "write `realm: internal` at the interface that clients come in by, or `both`";
        report.error(path, complaint(message, help));
    }
    if !faces(Realm::External) {
        let message = "no interface faces the external realm, so no reply can come back";
        let help = "write `realm: external` at the interface towards the targets, or `both`";
        report.error(path, complaint(message, help));
    }
}
