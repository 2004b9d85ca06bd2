//! Sweeps one after the other over slots that are right, wrong, loose or new.

use abi::{Ip4, Limits};

use super::*;

const RULE: u16 = 3;
const SLOT: u32 = 5000;

fn holder(last: u8) -> Holder {
    Holder::new(RULE, Ip4([10, 0, 0, last]))
}

fn quotas() -> Quotas {
    let limits = Limits { flows: 9, ports: 9 };
    let quota = Quota {
        total: limits,
        client: limits,
        ..Quota::NONE
    };
    [(RULE, quota)].into()
}

fn amount(flows: i64, ports: i64) -> Amount {
    Amount { flows, ports }
}

fn using(flows: u32, ports: u32) -> Use<Picture> {
    let slot = Use::default();
    slot.correct(flows.into(), ports.into());
    slot.claim();
    slot.picture()
}

/// A site with one client, whose slot says this at the beginning and at the end of a sweep.
struct Sweep {
    before: (u32, u32),
    after: (u32, u32),
    found: (i64, i64),
}

impl Sweep {
    /// What one sweep after the other says of the client's slot; the rule's agrees with what is found.
    fn judge(&self, books: &mut Books) -> Vec<Correction> {
        let slot = |(flows, ports): (u32, u32)| using(flows, ports);
        let rule = || using(self.found.0 as u32, self.found.1 as u32);
        let read =
            |client: (u32, u32)| move |number| if number == SLOT { slot(client) } else { rule() };
        let quotas = quotas();
        let opening = Opening::new(&quotas, vec![(holder(1), SLOT)], read(self.before));
        let found = [(holder(1), amount(self.found.0, self.found.1))].into();
        let now = Tick(100);
        let taken = [SLOT].into_iter();
        let judged = books.judge(&opening, &found, (now, read(self.after)), taken);
        judged.corrections
    }
}

#[test]
fn what_agrees_is_left_alone() {
    let mut books = Books::default();
    let sweep = Sweep {
        before: (4, 2),
        after: (4, 2),
        found: (4, 2),
    };

    assert_eq!(sweep.judge(&mut books), []);
    assert_eq!(sweep.judge(&mut books), []);
}

#[test]
fn what_begins_during_a_sweep_is_not_too_much_and_what_it_finds_of_that_not_too_little() {
    let mut books = Books::default();
    for found in [4, 5, 6] {
        let sweep = Sweep {
            before: (4, 0),
            after: (6, 0),
            found: (found, 0),
        };

        assert_eq!(sweep.judge(&mut books), []);
    }
}

#[test]
fn what_two_sweeps_find_too_much_or_too_little_is_corrected_by_what_both_agree_about() {
    let mut books = Books::default();
    let sweep = |found| Sweep {
        before: (6, 6),
        after: (6, 6),
        found,
    };

    assert_eq!(sweep((3, 7)).judge(&mut books), []);
    assert_eq!(
        sweep((4, 9)).judge(&mut books),
        [Correction::Adjust(SLOT, amount(-2, 1))]
    );
    assert_eq!(sweep((4, 9)).judge(&mut books), [], "once");
}

#[test]
fn a_client_that_is_not_counted_is_entered_with_what_it_has() {
    let (mut books, quotas) = (Books::default(), quotas());
    let found: HashMap<_, _> = [(holder(1), amount(3, 1))].into();
    let read = |_| using(3, 1);
    let mut judge = || {
        let opening = Opening::new(&quotas, Vec::new(), read);
        let judged = books.judge(&opening, &found, (Tick(1), read), [].into_iter());
        judged.corrections
    };

    assert_eq!(judge(), []);
    assert_eq!(judge(), [Correction::Enter(holder(1), amount(3, 1))]);
}

#[test]
fn a_client_without_anything_is_forgotten_and_its_slot_is_free_two_sweeps_later() {
    let (mut books, quotas) = (Books::default(), quotas());
    let mut sweep = |clients: &[(Holder, u32)]| {
        let read = |_| using(0, 0);
        let opening = Opening::new(&quotas, clients.to_vec(), read);
        let taken = [SLOT].into_iter();
        let judged = books.judge(&opening, &HashMap::new(), (Tick(1), read), taken);
        judged.corrections
    };
    let known = [(holder(1), SLOT)];

    assert_eq!(sweep(&known), []);
    assert_eq!(sweep(&known), [Correction::Forget(holder(1))]);
    assert_eq!(sweep(&[]), []);
    assert_eq!(sweep(&[]), [Correction::Free(SLOT)]);
}

#[test]
fn a_client_whose_burst_is_spent_is_remembered_until_it_has_it_again() {
    let mut quotas = quotas();
    let quota = quotas[&RULE].with_rate(1, 10);
    quotas.insert(RULE, quota);
    let slot = Use::default();
    for _ in 0..10 {
        assert!(slot.spend(&quota, Tick(100)));
    }
    let mut books = Books::default();
    let mut forgets = |now| {
        let read = |_| slot.picture();
        let opening = Opening::new(&quotas, vec![(holder(1), SLOT)], read);
        let taken = [SLOT].into_iter();
        let judged = books.judge(&opening, &HashMap::new(), (Tick(now), read), taken);
        !judged.corrections.is_empty()
    };

    assert!(!(100..109).any(&mut forgets));
    assert!((111..115).any(&mut forgets));
}

#[test]
fn two_clients_that_came_into_one_slot_are_parted() {
    let (mut books, quotas) = (Books::default(), quotas());
    let read = |_| using(2, 0);
    let opening = Opening::new(&quotas, vec![(holder(1), SLOT), (holder(2), SLOT)], read);

    let now = (Tick(1), read);
    let judged = books.judge(&opening, &HashMap::new(), now, [SLOT].into_iter());

    assert!(judged.corrections.contains(&Correction::Forget(holder(1))));
    assert!(judged.corrections.contains(&Correction::Forget(holder(2))));
}

#[test]
fn a_client_that_is_refused_is_told_of_once_and_again_when_it_is_not_any_more() {
    let (mut books, quotas) = (Books::default(), quotas());
    let slot = Use::default();
    let mut sweep = |now, refused| {
        slot.refused.set(refused);
        slot.correct(1, 0);
        let read = |_| slot.picture();
        let opening = Opening::new(&quotas, vec![(holder(1), SLOT)], read);
        let now = (Tick(now), read);
        let judged = books.judge(&opening, &HashMap::new(), now, [SLOT].into_iter());
        (judged.refused, judged.relieved)
    };
    let nothing = (vec![], vec![]);

    assert_eq!(sweep(1, 5), nothing, "what a predecessor counted it told");
    assert_eq!(sweep(2, 8), (vec![(holder(1), 3)], vec![]));
    assert_eq!(sweep(3, 9), nothing);
    assert_eq!(sweep(13, 9), nothing);
    assert_eq!(sweep(14, 9), (vec![], vec![holder(1)]));
    assert_eq!(sweep(15, 9), nothing);
    assert_eq!(sweep(16, 10), (vec![(holder(1), 1)], vec![]));
}
