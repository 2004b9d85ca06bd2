//! What must be done so that what was asked for stands, over tables that are plain maps.

use super::*;
use crate::{intent, machine::Gateway};

/// What the tables hold of mappings.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    entries: BTreeMap<MappingKey, Mapping>,
    callers: BTreeSet<ClassKey>,
}

impl World {
    fn apply(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::PutMapping(key, mapping) = action {
                let before = self.entries.insert(*key, *mapping);
                let displaced = before.and_then(|it| displaced(key, &it, mapping));
                for outward in displaced.iter().flat_map(|it| it.outward) {
                    let port = displaced.as_ref().map(|it| it.port);
                    if self.entries.get(&outward).map(|it| it.port) == port {
                        self.entries.remove(&outward);
                    }
                }
            }
            if let Action::PutClasses(classes) = action {
                let callers = classes.iter().map(|(key, _)| *key);
                self.callers
                    .extend(callers.filter(|key| key.list().is_some()));
            }
            if let Action::RemoveClasses(keys) = action {
                self.callers.retain(|key| !keys.contains(key));
            }
        }
    }

    /// Entries that were asked for.
    fn asked(&self) -> BTreeMap<MappingKey, Mapping> {
        let asked = self.entries.iter().filter(|(_, it)| it.is_asked_for());
        asked.map(|(key, mapping)| (*key, *mapping)).collect()
    }
}

fn gateway() -> Gateway {
    Gateway::new(crate::Found {
        config: abi::Config {
            generation: 1,
            ..abi::Config::default()
        },
        pools: BTreeMap::new(),
        rules: BTreeMap::new(),
        externals: BTreeMap::new(),
        classes: Vec::new(),
        classes6: Vec::new(),
        fixed: Vec::new(),
        fixed6: Vec::new(),
        interfaces: BTreeMap::new(),
        attached: BTreeMap::new(),
        mappings: BTreeMap::new(),
        leases: BTreeMap::new(),
    })
}

fn wanted(forwards: &str) -> crate::Event {
    let text = format!(
        "
interfaces: [{{name: eth0, realm: both}}]
pools:
  - name: a
    addresses: [192.0.2.1]
    forwards: [{forwards}]
rules: [{{name: all, sources: [10.0.0.0/8], pool: a}}]
"
    );
    let parsed = intent::parse("test.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    crate::Event::Configure(Box::new(parsed.intent))
}

fn step(gateway: &mut Gateway, world: &mut World, event: crate::Event) -> Vec<Action> {
    let actions = gateway.handle(event).expect("nothing is in the way");
    world.apply(&actions);
    actions
}

fn inward(port: u16) -> MappingKey {
    MappingKey::inward(Protocol::Tcp, (Ip4([192, 0, 2, 1]), Port::new(port)))
}

#[test]
fn callers_are_there_before_the_mapping_that_they_may_call_and_go_after_it() {
    let (mut gateway, mut world) = (gateway(), World::default());
    let guarded = "{name: web, service: tcp/80, to: 10.0.0.5, from: [198.51.100.0/24]}";

    let actions = step(&mut gateway, &mut world, wanted(guarded));
    let at = |actions: &[Action], which: fn(&Action) -> bool| actions.iter().position(which);
    let is_list = |action: &Action| matches!(action, Action::PutClasses(all) if all.iter().any(|(key, _)| key.list().is_some()));
    let listed = at(&actions, is_list).expect("callers are written");
    let mapped = at(&actions, |it| matches!(it, Action::PutMapping(..)));
    assert!(listed < mapped.expect("the mapping is written"));
    assert!(matches!(
        world.entries[&inward(80)].admits(),
        Admits::Listed(_)
    ));

    let open = guarded.replace(", from: [198.51.100.0/24]", "");
    let actions = step(&mut gateway, &mut world, wanted(&open));
    let is_removal = |action: &Action| matches!(action, Action::RemoveClasses(all) if all.iter().any(|key| key.list().is_some()));
    let mapped = at(&actions, |it| matches!(it, Action::PutMapping(..)));
    assert!(mapped < at(&actions, is_removal));
    assert_eq!(world.entries[&inward(80)].admits(), Admits::Everyone);
    assert!(world.callers.is_empty());
}

#[test]
fn forwards_with_the_same_callers_share_a_list_and_others_never_get_its_number_at_once() {
    let (mut gateway, mut world) = (gateway(), World::default());
    let pair = |one: &str, other: &str| {
        wanted(&format!(
            "{{name: a, service: tcp/80-89, to: 10.0.0.5, from: [{one}]}},
             {{name: b, service: tcp/90, to: 10.0.0.6, from: [{other}]}}"
        ))
    };
    let admits = |world: &World| [inward(80), inward(90)].map(|key| world.entries[&key].admits());

    step(
        &mut gateway,
        &mut world,
        pair("198.51.100.0/24", "198.51.100.0/24"),
    );
    let [one, other] = admits(&world);
    assert_eq!((one, world.callers.len()), (other, 1));

    // Until the entry is written anew, it must not admit those who call somebody else.
    step(
        &mut gateway,
        &mut world,
        pair("198.51.100.0/24", "203.0.113.0/24"),
    );
    assert_eq!(admits(&world)[0], one);
    assert_ne!(admits(&world)[1], one);
    let before = admits(&world);
    step(
        &mut gateway,
        &mut world,
        pair("203.0.113.0/24", "198.51.100.0/24"),
    );
    assert_eq!(admits(&world), [before[1], before[0]]);
    step(
        &mut gateway,
        &mut world,
        pair("192.0.2.128/25", "192.0.2.64/26"),
    );
    for admits in admits(&world) {
        assert!(!before.contains(&admits), "{admits:?} of {before:?}");
    }
}

/// Whatever is configured after whatever, the tables hold exactly what is wanted, and to want the
/// same again changes nothing.
#[test]
fn every_change_ends_with_what_a_new_gateway_would_have_written() {
    let kinds = [
        "",
        "{name: a, service: tcp/80, to: 10.0.0.5}",
        "{name: a, service: tcp/80, to: 10.0.0.6}",
        "{name: a, service: tcp/80, to: 10.0.0.5}, {name: b, service: tcp/81, to: '10.0.0.5:80'}",
        "{name: b, service: tcp/81, to: '10.0.0.5:80'}",
        "{name: r, service: tcp/70-89, to: 10.0.0.6, from: [198.51.100.0/24, 10.0.0.0/8]}",
        "{name: r, service: tcp/80-81, to: '10.0.0.6:79', from: [198.51.100.0/24]}",
    ];
    for first in kinds {
        for second in kinds {
            let (mut gateway, mut world) = (gateway(), World::default());
            step(&mut gateway, &mut world, wanted(first));
            step(&mut gateway, &mut world, wanted(second));
            let (mut fresh, mut expected) = (self::gateway(), World::default());
            step(&mut fresh, &mut expected, wanted(second));

            let without_lists = |world: &World| -> BTreeMap<MappingKey, (Port, Ip4, bool)> {
                let seen = |it: &Mapping| (it.port, it.internal, it.admits() == Admits::Everyone);
                let asked = world.asked();
                asked.iter().map(|(key, it)| (*key, seen(it))).collect()
            };
            assert_eq!(
                without_lists(&world),
                without_lists(&expected),
                "{first} then {second}"
            );
            assert_eq!(world.callers.len(), expected.callers.len());
            let again = step(&mut gateway, &mut world, wanted(second));
            let is_about_mappings = |it: &Action| {
                matches!(
                    it,
                    Action::PutMapping(..) | Action::TakePort(..) | Action::PutClasses(_)
                )
            };
            assert!(!again.iter().any(is_about_mappings), "{again:?}");
        }
    }
}

#[test]
fn what_found_no_room_is_missing_until_it_is_tried_again() {
    let (mut gateway, mut world) = (gateway(), World::default());
    let forward = "{name: a, service: tcp/80, to: 10.0.0.5}";
    step(&mut gateway, &mut world, wanted(forward));
    let found: BTreeSet<_> = world.asked().into_keys().collect();

    step(
        &mut gateway,
        &mut world,
        crate::Event::NotMapped(inward(80)),
    );
    assert!(gateway.mappings().missing().contains(&inward(80)));
    assert!(!gateway.mappings().stands(&inward(80)));

    let again = step(&mut gateway, &mut world, crate::Event::Swept(7, found));
    assert!(again.contains(&Action::PutMapping(inward(80), world.entries[&inward(80)])));
    assert!(gateway.mappings().missing().is_empty());
}
