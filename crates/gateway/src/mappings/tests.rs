//! What must be done so that what was asked for stands, over tables that are plain maps.

use std::convert::Infallible;

use abi::{ClassKey, End};

use super::*;
use crate::{intent, machine::Gateway};

/// What the tables hold of mappings.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    v4: BTreeMap<MappingKey, Mapping>,
    v6: BTreeMap<MappingKey<Ip6>, Mapping<Ip6>>,
    callers: BTreeSet<ClassKey>,
    callers6: BTreeSet<ClassKey<Ip6>>,
}

/// A kind of address, and its table.
trait In: Kept {
    fn table(world: &mut World) -> &mut BTreeMap<MappingKey<Self>, Mapping<Self>>;
}

impl In for Ip4 {
    fn table(world: &mut World) -> &mut BTreeMap<MappingKey, Mapping> {
        &mut world.v4
    }
}

impl In for Ip6 {
    fn table(world: &mut World) -> &mut BTreeMap<MappingKey<Self>, Mapping<Self>> {
        &mut world.v6
    }
}

impl<A: In> Entries<A> for World {
    type Error = Infallible;

    fn get(&mut self, key: &MappingKey<A>) -> Result<Option<Mapping<A>>, Infallible> {
        Ok(A::table(self).get(key).copied())
    }

    fn put(&mut self, key: &MappingKey<A>, mapping: &Mapping<A>) -> Result<bool, Infallible> {
        A::table(self).insert(*key, *mapping);
        Ok(true)
    }

    fn remove(&mut self, key: &MappingKey<A>) -> Result<(), Infallible> {
        A::table(self).remove(key);
        Ok(())
    }
}

impl World {
    fn apply(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::PutMapping(key, mapping) = action {
                assert_eq!(put(self, key, mapping), Ok(true), "{action:?}");
            }
            if let Action::PutMapping6(key, mapping) = action {
                assert_eq!(put(self, key, mapping), Ok(true), "{action:?}");
            }
            if let Action::PutClasses(classes) = action {
                let callers = classes.iter().map(|(key, _)| *key);
                self.callers
                    .extend(callers.filter(|key| key.list().is_some()));
            }
            if let Action::PutClasses6(classes) = action {
                let callers = classes.iter().map(|(key, _)| *key);
                self.callers6
                    .extend(callers.filter(|key| key.list().is_some()));
            }
            if let Action::RemoveClasses(keys) = action {
                self.callers.retain(|key| !keys.contains(key));
            }
            if let Action::RemoveClasses6(keys) = action {
                self.callers6.retain(|key| !keys.contains(key));
            }
        }
    }

    /// Entries that were asked for: to whom they lead, or from where, and whether for everybody.
    fn asked(&self) -> BTreeMap<MappingKey<Ip6>, (Port, Ip6, bool)> {
        fn seen<A: Address>(it: &Mapping<A>) -> (Port, Ip6, bool) {
            let is_open = it.admits() == Admits::Everyone;
            (it.port, it.internal.wide(), is_open)
        }
        let narrow = self.v4.iter().filter(|(_, it)| it.is_asked_for());
        let narrow = narrow.map(|(key, it)| (wide(key), seen(it)));
        let asked = self.v6.iter().filter(|(_, it)| it.is_asked_for());
        narrow
            .chain(asked.map(|(key, it)| (*key, seen(it))))
            .collect()
    }
}

/// The same entry as tables of both versions hold it.
fn wide(key: &MappingKey) -> MappingKey<Ip6> {
    let protocol = Protocol::from_number(key.protocol).expect("one that has ports");
    let external = key.external.wide();
    match key.what().expect("an end of a mapping") {
        End::Outward { internal, .. } => {
            let internal = (internal.0.wide(), internal.1);
            MappingKey::outward(protocol, internal, external, Ip6::NONE)
        }
        End::Inward { port } | End::Permit { port, .. } => {
            MappingKey::inward(protocol, (external, port))
        }
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
        mappings6: BTreeMap::new(),
        leases: BTreeMap::new(),
    })
}

fn wanted(forwards: &str) -> crate::Event {
    let text = format!(
        "
interfaces: [{{name: eth0, realm: both}}]
pools:
  - name: a
    addresses: [192.0.2.1, '2001:db8::1']
    forwards: [{forwards}]
nat64: {{prefixes: ['64:ff9b::/96']}}
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
    assert!(matches!(world.v4[&inward(80)].admits(), Admits::Listed(_)));

    let open = guarded.replace(", from: [198.51.100.0/24]", "");
    let actions = step(&mut gateway, &mut world, wanted(&open));
    let is_removal = |action: &Action| matches!(action, Action::RemoveClasses(all) if all.iter().any(|key| key.list().is_some()));
    let mapped = at(&actions, |it| matches!(it, Action::PutMapping(..)));
    assert!(mapped < at(&actions, is_removal));
    assert_eq!(world.v4[&inward(80)].admits(), Admits::Everyone);
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
    let admits = |world: &World| [inward(80), inward(90)].map(|key| world.v4[&key].admits());

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
        "{name: a, service: tcp/80, address: 192.0.2.1, to: 'fd00::5'}",
        "{name: a, service: tcp/80, address: '2001:db8::1', to: 'fd00::5', from: ['2001:db8:f::/48']}",
        "{name: a, service: tcp/80, address: 192.0.2.1, to: 'fd00::6'}, \
         {name: b, service: tcp/80, address: '2001:db8::1', to: 'fd00::6'}",
        "{name: r, service: tcp/70-89, address: 192.0.2.1, to: 'fd00::5', \
         from: [198.51.100.0/24, '2001:db8:f::/48']}",
    ];
    for first in kinds {
        for second in kinds {
            let (mut gateway, mut world) = (gateway(), World::default());
            step(&mut gateway, &mut world, wanted(first));
            step(&mut gateway, &mut world, wanted(second));
            let (mut fresh, mut expected) = (self::gateway(), World::default());
            step(&mut fresh, &mut expected, wanted(second));

            assert_eq!(world.asked(), expected.asked(), "{first} then {second}");
            assert_eq!(world.callers.len(), expected.callers.len());
            assert_eq!(world.callers6.len(), expected.callers6.len());
            let again = step(&mut gateway, &mut world, wanted(second));
            let is_about_mappings = |it: &Action| {
                matches!(
                    it,
                    Action::PutMapping(..)
                        | Action::PutMapping6(..)
                        | Action::TakePort(..)
                        | Action::PutClasses(_)
                        | Action::PutClasses6(_)
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
    let found = Keys {
        v4: world.v4.keys().copied().collect(),
        v6: BTreeSet::new(),
    };

    step(
        &mut gateway,
        &mut world,
        crate::Event::NotMapped(inward(80)),
    );
    assert_eq!(gateway.mappings().missing().v4, [inward(80)].into());

    let again = step(&mut gateway, &mut world, crate::Event::Swept(7, found));
    assert!(again.contains(&Action::PutMapping(inward(80), world.v4[&inward(80)])));
    assert!(gateway.mappings().missing().is_empty());
}
