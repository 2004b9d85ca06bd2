//! The machine, one event at a time, over tables that are plain maps.

use std::{collections::BTreeMap, net::IpAddr};

use super::*;
use crate::intent;

const BASE: &str = "
interfaces:
  - {name: in0, realm: internal}
  - {name: out0, realm: external}
pools:
  - {name: a, addresses: [192.0.2.1, 192.0.2.2]}
rules:
  - {name: all, sources: [10.0.0.0/8], pool: a}
";

fn wanted(text: &str) -> Event {
    let parsed = intent::parse("test.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
    Event::Configure(Box::new(parsed.intent))
}

fn link(ifindex: u32, name: &str) -> Link {
    let mac = Some([2, 0, 0, 0, 0, ifindex as u8]);
    Link {
        ifindex,
        name: name.to_owned(),
        mac,
        addresses: vec![[10, 0, 0, 1].into()],
        addresses6: vec![Ipv6Addr::LOCALHOST],
    }
}

/// What the tables hold after some actions.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    config: Option<Config>,
    classes: BTreeMap<ClassKey, RuleSet>,
    classes6: BTreeMap<ClassKey<Ip6>, RuleSet>,
    fixed: BTreeMap<FixedKey, Fixed>,
    fixed6: BTreeMap<FixedKey<Ip6>, Fixed>,
    rules: BTreeMap<u32, RuleEntry>,
    pools: BTreeMap<u32, Box<PoolEntry>>,
    slots6: BTreeMap<u32, Box<Slots6>>,
    externals: BTreeMap<Ip6, External>,
    numbered: BTreeMap<u16, Numbered>,
    interfaces: BTreeMap<u32, InterfaceEntry>,
    attached: BTreeMap<u32, Attachment>,
    mappings: BTreeMap<MappingKey, Mapping>,
    mappings6: BTreeMap<MappingKey<Ip6>, Mapping<Ip6>>,
    leases: BTreeMap<MappingKey<Ip6>, Lease>,
    members: BTreeMap<u32, Option<IpAddr>>,
    /// Whether it was forgotten who holds what, and if so, for a gateway that is alone.
    forgotten: Option<bool>,
}

impl World {
    fn found(&self) -> Found {
        let config = self.config.unwrap_or(Config {
            seed: 1,
            generation: 1,
            ..Config::default()
        });
        let pools = (0..64).filter_map(|number| {
            let entry = self
                .pools
                .get(&abi::policy::pool_index(config.version, number))?;
            Some((number, policy::name(entry)?))
        });
        Found {
            config,
            pools: pools.collect(),
            rules: self
                .numbered
                .iter()
                .filter_map(|(number, entry)| Some((*number, policy::rule_name(entry)?)))
                .collect(),
            externals: self.externals.clone(),
            classes: self.classes.keys().copied().collect(),
            classes6: self.classes6.keys().copied().collect(),
            fixed: self.fixed.keys().copied().collect(),
            fixed6: self.fixed6.keys().copied().collect(),
            interfaces: self.interfaces.clone(),
            attached: self.attached.clone(),
            mappings: self.mappings.clone(),
            mappings6: self.mappings6.clone(),
            leases: self.leases.clone(),
        }
    }

    fn apply(&mut self, action: &Action) {
        match action.clone() {
            Action::PutExternal(address, external) => {
                self.externals.insert(address, external);
            }
            Action::PutNumbered(number, entry) => {
                self.numbered.insert(number, *entry);
            }
            Action::RemoveExternal(address) => {
                self.externals.remove(&address);
            }
            Action::PutRule(index, rule) => {
                self.rules.insert(index, rule);
            }
            Action::PutPool(index, pool) => {
                self.pools.insert(index, pool);
            }
            Action::PutSlots6(index, slots) => {
                self.slots6.insert(index, slots);
            }
            Action::PutClasses(classes) => self.classes.extend(classes),
            Action::PutClasses6(classes) => self.classes6.extend(classes),
            Action::RemoveClasses6(keys) => self.classes6.retain(|key, _| !keys.contains(key)),
            Action::RemoveClasses(keys) => self.classes.retain(|key, _| !keys.contains(key)),
            Action::PutFixed(entries) => self.fixed.extend(entries),
            Action::PutFixed6(entries) => self.fixed6.extend(entries),
            Action::RemoveFixed(keys) => self.fixed.retain(|key, _| !keys.contains(key)),
            Action::RemoveFixed6(keys) => self.fixed6.retain(|key, _| !keys.contains(key)),
            Action::SetConfig(config) => self.config = Some(config),
            Action::PutMember(number, address) => {
                self.members.insert(number, address);
            }
            Action::ForgetHolders { is_alone } => self.forgotten = Some(is_alone),
            // Of ports and mappings, `mappings::tests` knows more.
            Action::TakePort(..) => {}
            Action::PutMapping(key, mapping) => {
                self.mappings.insert(key, mapping);
            }
            Action::PutMapping6(key, mapping) => {
                self.mappings6.insert(key, mapping);
            }
            Action::PutLease(key, lease) => {
                self.leases.insert(key, lease);
            }
            Action::RemoveLease(key) => {
                self.leases.remove(&key);
            }
            Action::PutInterface(ifindex, entry) => {
                self.interfaces.insert(ifindex, entry);
            }
            Action::RemoveInterface(ifindex) => {
                self.interfaces.remove(&ifindex);
            }
            Action::Attach { ifindex, mode, .. } => {
                self.attached.insert(ifindex, attachment(mode));
            }
            Action::Detach(ifindex) => {
                self.attached.remove(&ifindex);
            }
        }
    }

    fn version(&self) -> u32 {
        self.config.map_or(0, |config| config.version)
    }

    /// Everything that is in force, under numbers that do not depend on the version.
    fn in_force(&self) -> Vec<(u32, RuleEntry)> {
        let first = abi::policy::rule_index(self.version(), 0);
        self.rules
            .range(first..first + 1024)
            .map(|(index, rule)| (index - first, *rule))
            .collect()
    }
}

fn attachment(mode: Mode) -> Attachment {
    match mode {
        Mode::Native | Mode::NativeOrGeneric => Attachment::Native,
        Mode::Generic => Attachment::Generic,
    }
}

/// Hands an event over, applies what comes of it, and does so for what comes of that.
fn step(gateway: &mut Gateway, world: &mut World, event: Event) -> Vec<Action> {
    let actions = gateway.handle(event).expect("nothing is in the way");
    for action in &actions {
        world.apply(action);
        if let Action::Attach { ifindex, mode, .. } = action {
            step(gateway, world, Event::Attached(*ifindex, attachment(*mode)));
        }
    }
    actions
}

fn started() -> (Gateway, World) {
    let mut world = World::default();
    let mut gateway = Gateway::new(world.found());
    step(&mut gateway, &mut world, wanted(BASE));
    step(
        &mut gateway,
        &mut world,
        Event::Links(vec![link(4, "in0"), link(5, "out0")]),
    );
    (gateway, world)
}

#[test]
fn a_new_gateway_writes_everything_before_it_puts_it_in_force() {
    let mut gateway = Gateway::new(World::default().found());

    let actions = gateway.handle(wanted(BASE)).expect("nothing is in the way");

    let place = |is: fn(&Action) -> bool| actions.iter().rposition(is).expect("is there");
    let enforced = place(|action| matches!(action, Action::SetConfig(_)));
    assert!(place(|action| matches!(action, Action::PutExternal(..))) < enforced);
    assert!(place(|action| matches!(action, Action::PutPool(..))) < enforced);
    assert!(place(|action| matches!(action, Action::PutRule(..))) < enforced);
    assert!(place(|action| matches!(action, Action::PutClasses(_))) < enforced);
}

#[test]
fn the_same_configuration_again_does_nothing() {
    let (mut gateway, mut world) = started();

    assert_eq!(step(&mut gateway, &mut world, wanted(BASE)), []);
}

#[test]
fn the_same_interfaces_again_do_nothing() {
    let (mut gateway, mut world) = started();

    let links = vec![link(4, "in0"), link(5, "out0")];

    assert_eq!(step(&mut gateway, &mut world, Event::Links(links)), []);
}

#[test]
fn a_successor_takes_over_without_detaching_or_renumbering_anything() {
    let (_, mut world) = started();
    let before = world.clone();
    let mut successor = Gateway::new(world.found());

    let mut actions = step(&mut successor, &mut world, wanted(BASE));
    let links = vec![link(4, "in0"), link(5, "out0")];
    actions.extend(step(&mut successor, &mut world, Event::Links(links)));

    let is_disruptive = |action: &Action| match action {
        Action::Attach { .. } | Action::Detach(_) | Action::RemoveExternal(_) => true,
        Action::RemoveInterface(_) => true,
        Action::PutExternal(..)
        | Action::PutNumbered(..)
        | Action::PutRule(..)
        | Action::PutPool(..)
        | Action::PutSlots6(..)
        | Action::PutClasses(_)
        | Action::PutClasses6(_)
        | Action::RemoveClasses6(_)
        | Action::RemoveClasses(_)
        | Action::PutFixed(_)
        | Action::PutFixed6(_)
        | Action::RemoveFixed(_)
        | Action::RemoveFixed6(_)
        | Action::PutMember(..)
        | Action::ForgetHolders { .. }
        | Action::SetConfig(_)
        | Action::TakePort(..)
        | Action::PutMapping(..)
        | Action::PutMapping6(..)
        | Action::PutLease(..)
        | Action::RemoveLease(_)
        | Action::PutInterface(..) => false,
    };
    assert!(!actions.iter().any(is_disruptive));
    assert_eq!(world.externals, before.externals);
    assert_eq!(world.in_force(), before.in_force());
    assert_eq!(world.attached, before.attached);
}

#[test]
fn a_successor_of_one_killed_at_any_point_ends_with_the_same_tables() {
    let other = BASE
        .replace("10.0.0.0/8", "10.1.0.0/16")
        .replace("192.0.2.2", "192.0.2.3");
    let (mut gateway, world) = started();
    let actions = gateway
        .handle(wanted(&other))
        .expect("nothing is in the way");

    for killed in 0..=actions.len() {
        let mut world = world.clone();
        for action in &actions[..killed] {
            world.apply(action);
        }
        let before = world.version();
        let mut successor = Gateway::new(world.found());
        step(&mut successor, &mut world, wanted(&other));

        let known = [before, world.version()];
        assert!(
            world
                .classes
                .keys()
                .all(|key| known.contains(&key.version())),
            "{killed}"
        );
        assert_eq!(world.in_force().len(), 1, "{killed}");
        let serving = world
            .externals
            .iter()
            .filter(|(_, external)| external.state() == Some(abi::ExternalState::Serving));
        let serving: Vec<_> = serving.map(|(address, _)| *address).collect();
        assert_eq!(
            serving,
            [
                Ip6::mapped(Ip4([192, 0, 2, 1])),
                Ip6::mapped(Ip4([192, 0, 2, 3]))
            ],
            "{killed}"
        );
    }
}

#[test]
fn until_it_is_in_force_a_new_policy_changes_nothing_of_the_old_one() {
    let other = BASE.replace("pool: a}", "action: pass}");
    let (mut gateway, mut world) = started();
    let before = (world.version(), world.in_force());
    let classes = |world: &World, version| {
        let of_version = world
            .classes
            .iter()
            .filter(|(key, _)| key.version() == version);
        of_version
            .map(|(key, set)| (*key, *set))
            .collect::<Vec<_>>()
    };
    let old = classes(&world, before.0);

    for action in gateway
        .handle(wanted(&other))
        .expect("nothing is in the way")
    {
        world.apply(&action);
        if world.version() == before.0 {
            assert_eq!(world.in_force(), before.1);
            assert_eq!(classes(&world, before.0), old);
        }
    }

    assert_ne!(world.version(), before.0);
    assert_eq!(
        classes(&world, before.0),
        old,
        "a packet may be in the middle of reading it"
    );
    step(&mut gateway, &mut world, wanted(BASE));
    assert!(
        classes(&world, before.0).is_empty(),
        "the old policy is removed"
    );
}

#[test]
fn an_address_that_left_is_forgotten_only_when_it_is_idle() {
    let (mut gateway, mut world) = started();
    let gone = Ip6::mapped(Ip4([192, 0, 2, 2]));

    step(
        &mut gateway,
        &mut world,
        wanted(&BASE.replace(", 192.0.2.2", "")),
    );
    assert_eq!(
        world.externals[&gone].state(),
        Some(abi::ExternalState::Draining)
    );
    assert_eq!(
        step(&mut gateway, &mut world, Event::Idle(BTreeSet::new())),
        []
    );
    step(&mut gateway, &mut world, Event::Idle([gone].into()));

    assert!(!world.externals.contains_key(&gone));
}

#[test]
fn a_successor_knows_the_pools_that_drain_and_no_others() {
    let two = BASE.replace("rules:", "  - {name: b, addresses: [192.0.2.9]}\nrules:");
    let three = two.replace("rules:", "  - {name: c, addresses: [192.0.2.10]}\nrules:");
    let (mut gateway, mut world) = started();
    step(&mut gateway, &mut world, wanted(&two));
    let b = gateway.numbers().pools["b"];

    // Its address goes to another pool, and only flows know of its number.
    step(
        &mut gateway,
        &mut world,
        wanted(&two.replace("name: b", "name: renamed")),
    );
    let mut gateway = Gateway::new(world.found());
    step(
        &mut gateway,
        &mut world,
        wanted(&three.replace("name: b", "name: renamed")),
    );
    assert_eq!(gateway.numbers().pool_name(b), Some("b"));
    assert_eq!(gateway.unwanted_pools(), [b].into());

    // When no flow has it any more, nobody remembers it, however many policies come.
    step(&mut gateway, &mut world, Event::PoolsIdle([b].into()));
    for text in [BASE, &two.replace("name: b", "name: renamed")] {
        step(&mut gateway, &mut world, wanted(text));
        assert!(!world.found().pools.values().any(|name| name == "b"));
    }
}

#[test]
fn an_interface_that_appears_is_attached_to_and_one_that_goes_is_forgotten() {
    let mut world = World::default();
    let mut gateway = Gateway::new(world.found());
    step(&mut gateway, &mut world, wanted(BASE));
    assert!(world.attached.is_empty());

    step(
        &mut gateway,
        &mut world,
        Event::Links(vec![link(7, "in0"), link(9, "other")]),
    );
    assert_eq!(world.attached, [(7, Attachment::Native)].into());
    assert_eq!(world.interfaces.keys().copied().collect::<Vec<_>>(), [7]);

    step(&mut gateway, &mut world, Event::Links(vec![link(8, "in0")]));
    assert_eq!(world.attached, [(8, Attachment::Native)].into());
    assert_eq!(world.interfaces.keys().copied().collect::<Vec<_>>(), [8]);
}

#[test]
fn an_interface_that_refused_is_tried_again_when_interfaces_change_and_not_before() {
    let mut gateway = Gateway::new(World::default().found());
    gateway.handle(wanted(BASE)).expect("nothing is in the way");
    let attaches = |actions: &[Action]| {
        actions
            .iter()
            .filter(|action| matches!(action, Action::Attach { .. }))
            .count()
    };
    let mut links = vec![link(4, "in0")];

    let actions = gateway
        .handle(Event::Links(links.clone()))
        .expect("cannot fail");
    assert_eq!(attaches(&actions), 1);
    gateway.handle(Event::NotAttached(4)).expect("cannot fail");
    let actions = gateway
        .handle(Event::Links(links.clone()))
        .expect("cannot fail");
    assert_eq!(attaches(&actions), 0);
    links.push(link(6, "new"));
    let actions = gateway.handle(Event::Links(links)).expect("cannot fail");

    assert_eq!(attaches(&actions), 1);
}

#[test]
fn a_change_of_routes_is_a_new_generation_and_never_generation_zero() {
    let (mut gateway, mut world) = started();
    let before = world.config.expect("is set").generation;
    step(&mut gateway, &mut world, Event::RoutesChanged);
    assert_eq!(world.config.expect("is set").generation, before + 1);

    world.config = Some(Config {
        seed: 1,
        generation: u32::MAX,
        version: 2,
        ..Config::default()
    });
    let mut gateway = Gateway::new(world.found());
    step(&mut gateway, &mut world, Event::RoutesChanged);
    assert_eq!(world.config.expect("is set").generation, 1);
}

#[test]
fn frames_are_not_redirected_to_an_interface_in_generic_mode() {
    let text = BASE.replace("realm: external", "realm: external, mode: generic");
    let mut world = World::default();
    let mut gateway = Gateway::new(world.found());

    step(&mut gateway, &mut world, wanted(&text));
    step(
        &mut gateway,
        &mut world,
        Event::Links(vec![link(4, "in0"), link(5, "out0")]),
    );

    assert!(world.interfaces[&4].takes_redirects());
    assert!(!world.interfaces[&5].takes_redirects());
}

#[test]
fn prefixes_of_nat64_come_into_force_with_the_policy_and_ipv6_addresses_drain() {
    let (mut gateway, mut world) = started();
    let own = world.interfaces[&4].address6();
    assert_eq!(own, Some(Ip6::from(IpAddr::from(Ipv6Addr::LOCALHOST))));
    let six = BASE.replace("192.0.2.2", "'2001:db8::1'")
        + "nat64: {prefixes: ['64:ff9b::/96', '2001:db8:64::/96']}\n";

    let actions = step(&mut gateway, &mut world, wanted(&six));

    let config = world.config.expect("there is one");
    let prefixes = config.prefixes.map(|prefix| prefix.is_some());
    assert_eq!(prefixes, [true, true, false, false]);
    let puts = |action: &Action| matches!(action, Action::SetConfig(_));
    assert_eq!(actions.iter().filter(|it| puts(it)).count(), 1);
    let address = Ip6::from(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
    assert!(world.externals.contains_key(&address));

    step(&mut gateway, &mut world, wanted(BASE));
    assert_eq!(world.config.map(|it| it.prefixes[0].is_some()), Some(false));
    let external = world.externals[&address];
    assert_eq!(external.state(), Some(abi::ExternalState::Draining));
    step(&mut gateway, &mut world, Event::Idle([address].into()));
    assert!(!world.externals.contains_key(&address));

    step(&mut gateway, &mut world, wanted(BASE));
    let mut successor = Gateway::new(world.found());
    let before = world.clone();
    step(&mut successor, &mut world, wanted(BASE));
    assert_eq!(world.externals, before.externals);
}

#[test]
fn who_holds_what_is_forgotten_before_a_cluster_is_joined_and_after_it_is_left_and_not_by_a_restart()
 {
    let clustered = wanted(&format!(
        "{BASE}cluster: {{name: west, self: gw2, secret_file: /s, members: [{{name: gw1, address: 10.0.0.11}}, \
         {{name: gw2, address: 10.0.0.12}}]}}"
    ));
    let (mut gateway, mut world) = (Gateway::new(World::default().found()), World::default());
    let is_forgetting = |it: &Action| matches!(it, Action::ForgetHolders { .. });
    let mut tell = |gateway: &mut Gateway, event| {
        let actions = gateway.handle(event).expect("there is room");
        world.forgotten = None;
        actions.iter().for_each(|action| world.apply(action));
        let order: Vec<bool> = actions
            .iter()
            .map(|it| (is_forgetting(it), matches!(it, Action::SetConfig(_))))
            .filter(|(forgets, sets)| *forgets || *sets)
            .map(|(forgets, _)| forgets)
            .collect();
        (world.clone(), order)
    };
    tell(&mut gateway, Event::Key(99));

    let (joined, order) = tell(&mut gateway, clustered.clone());
    let config = joined.config.expect("it is in force");
    assert_eq!((config.members, config.me, config.key), (2, 1, 99));
    assert_eq!(joined.members[&1], Some(IpAddr::from([10, 0, 0, 12])));
    assert_eq!((joined.forgotten, joined.members[&2]), (Some(false), None));
    assert_eq!(
        order.first(),
        Some(&true),
        "nobody is taken for a holder by mistake"
    );

    let mut next = Gateway::new(joined.found());
    tell(&mut next, Event::Key(99));
    let (restarted, _) = tell(&mut next, clustered);
    assert_eq!(restarted.forgotten, None);

    let (left, order) = tell(&mut next, wanted(BASE));
    let config = left.config.expect("it is in force");
    assert_eq!((config.members, config.key), (0, config.seed));
    assert_eq!((left.forgotten, order.last()), (Some(true), Some(&true)));
}
