//! The table against a model without bounds, order or undo: maps that are copied whole.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    See { session: u8, user: u8, kind: SightingKind, index: Option<u32>, previous: Option<u8> },
    Close(u8),
    Commit,
    RollBack,
    Restart,
}

/// What the table should know.
#[derive(Debug, Clone, Default)]
struct Model {
    sessions: HashMap<Uuid, Session>,
    users: HashMap<Uuid, User>,
}

impl Model {
    fn observe(&mut self, it: &Sighting, number_all: bool) -> Session {
        if !self.sessions.contains_key(&it.session) {
            let user = self.users.get(&it.user).cloned();
            let last = user.as_ref().map_or(0, |it| it.index);
            let index = it.index.unwrap_or(last + 1);
            let latest = user.and_then(|it| it.latest);
            let linked = (it.kind == SightingKind::Start || number_all) && it.index.is_none();
            let previous = if it.user.is_nil() { None } else { it.previous.or(if linked { latest } else { None }) };
            if index >= last {
                let latest = if it.user.is_nil() { None } else { Some(it.session) };
                self.users.insert(it.user, User { index, latest });
            }
            let session =
                Session { index, events: 0, announced: false, closed: false, first: None, previous, user: it.user };
            self.sessions.insert(it.session, session);
        }
        let session = self.sessions.get_mut(&it.session).unwrap();
        if it.kind == SightingKind::Start && !session.announced && it.previous.is_some() {
            session.previous = it.previous;
        }
        session.user = it.user;
        if it.user.is_nil() {
            session.previous = None;
        }
        let begins = it.kind == SightingKind::Start && !session.announced;
        if session.events == 0 || begins && !number_all {
            (session.events, session.first) = (0, Some((it.event, it.millis)));
        }
        session.announced |= begins;
        session.closed |= it.kind == SightingKind::End;
        session.events += 1;
        session.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_table_does_what_a_model_without_bounds_does(
        steps in prop::collection::vec(step(), 1..80), number_all: bool
    ) {
        let mut table = Table::new(1000, number_all);
        let (mut model, mut committed) = (Model::default(), Model::default());
        let mut stored: HashMap<(u8, Vec<u8>), Vec<u8>> = HashMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::See { session, user, kind, index, previous } => {
                    let sighting = Sighting {
                        session: id(session),
                        user: if user == 0 { Uuid::nil() } else { id(100 + user) },
                        index,
                        previous: previous.filter(|it| *it != session).map(id),
                        kind,
                        event: Uuid::from_u128(number as u128 + 1000),
                        millis: number as i64,
                    };
                    let known = model.sessions.get(&id(session)).cloned();
                    let expected = model.observe(&sighting, number_all);
                    let (seen, changes) = table.observe(&sighting);
                    prop_assert_eq!(&seen, &expected);
                    let first_start = kind == SightingKind::Start && !known.as_ref().is_some_and(|it| it.announced);
                    let first_end = kind == SightingKind::End && !known.as_ref().is_some_and(|it| it.closed);
                    prop_assert_eq!(changes, first_start || first_end);
                }
                Step::Close(session) => {
                    let expected = model.sessions.get_mut(&id(session)).filter(|it| !it.closed).map(|it| {
                        it.closed = true;
                        it.clone()
                    });
                    prop_assert_eq!(table.close(id(session)).cloned(), expected);
                }
                Step::Commit => commit(&mut table, &mut stored, &model, &mut committed),
                Step::RollBack => {
                    table.roll_back();
                    model = committed.clone();
                }
                Step::Restart => {
                    commit(&mut table, &mut stored, &model, &mut committed);
                    table = Table::new(1000, number_all);
                    table.load(rows(&stored).iter().filter_map(|row| rows::read("n", row)));
                }
            }
        }
        commit(&mut table, &mut stored, &model, &mut committed);
        let read: HashMap<_, _> = rows(&stored).iter().filter_map(|row| rows::read("n", row)).collect();
        prop_assert_eq!(read.len(), stored.len());
        for (key, session) in &model.sessions {
            let stored = match &read[key] {
                rows::Stored::Session { session, .. } => session,
                other @ rows::Stored::User { .. } => panic!("{other:?}"),
            };
            prop_assert_eq!(stored, session);
        }
    }

    /// The order of forgetting: what has ended first, then what was idle for longest, by batches.
    #[test]
    fn a_full_table_forgets_in_order_and_a_roll_back_brings_back_all(
        batches in prop::collection::vec((prop::collection::vec((0..12_u8, any::<bool>()), 1..6), any::<bool>()), 1..20)
    ) {
        const MOST: usize = 4;
        let mut table = Table::new(MOST, true);
        let mut stored: HashMap<(u8, Vec<u8>), Vec<u8>> = HashMap::new();
        // Sessions as they should stand, least worthy of staying first within open and ended ones.
        let mut order: Vec<(u8, bool)> = Vec::new();
        for (sightings, taken) in batches {
            let before = order.clone();
            for (session, end) in sightings {
                let kind = if end { SightingKind::End } else { SightingKind::Other };
                let user = id(101);
                let it = Sighting { session: id(session), user, index: None, previous: None, kind, event: id(1), millis: 0 };
                table.observe(&it);
                match order.iter().position(|(known, _)| *known == session) {
                    Some(place) => {
                        let (_, ended) = order.remove(place);
                        order.push((session, ended || end));
                    }
                    None => {
                        if order.len() == MOST {
                            let place = order.iter().position(|(_, ended)| *ended).unwrap_or(0);
                            order.remove(place);
                        }
                        order.push((session, end));
                    }
                }
                prop_assert!(table.sessions.entries.len() <= MOST);
                prop_assert_eq!(table.sessions.entries.len(), table.sessions.order.len());
            }
            if taken {
                let mut changed = Vec::new();
                table.changed_rows("n", &mut changed);
                store(&mut stored, changed);
                table.commit();
                // Within a batch the order is not told apart: take the table's own from here on.
                let first = |it: &(bool, u64, Uuid)| (it.2.as_u128() as u8, !it.0);
                let mut own: Vec<_> = table.sessions.order.iter().collect();
                own.sort_by_key(|it| it.1);
                order = own.into_iter().map(first).collect();
            } else {
                table.roll_back();
                order = before;
            }
            let kept: std::collections::BTreeSet<u8> = table.sessions.entries.keys().map(|id| id.as_u128() as u8).collect();
            prop_assert_eq!(kept, order.iter().map(|(session, _)| *session).collect());
            let in_store = stored.keys().filter(|(table, _)| *table == 1).count();
            prop_assert_eq!(in_store, table.sessions.entries.len(), "what is forgotten is deleted from the store");
        }
    }
}

#[test]
fn what_a_lower_limit_crowded_out_is_forgotten_like_the_rest() {
    let mut table = Table::new(8, true);
    for number in 1..=8 {
        let (session, user) = (id(number), id(100 + number));
        let kind = SightingKind::Other;
        table.observe(&Sighting { session, user, index: None, previous: None, kind, event: id(1), millis: 0 });
    }
    let mut stored = HashMap::new();
    let mut changed = Vec::new();
    table.changed_rows("n", &mut changed);
    store(&mut stored, changed);
    let mut table = Table::new(3, true);
    table.load(rows(&stored).iter().filter_map(|row| rows::read("n", row)));
    let mut forgotten = Vec::new();
    table.forget("n", &mut forgotten);
    store(&mut stored, forgotten);
    assert!(stored.is_empty(), "{stored:?}");
}

#[test]
fn a_stored_use_beyond_what_is_ever_counted_is_no_row() {
    let (session, user) = (id(1), id(101));
    let sighting = |session| Sighting {
        session,
        user,
        index: None,
        previous: None,
        kind: SightingKind::Other,
        event: id(1),
        millis: 0,
    };
    let mut table = Table::new(8, true);
    table.observe(&sighting(session));
    let mut changed = Vec::new();
    table.changed_rows("n", &mut changed);
    for row in &mut changed {
        row.value.as_mut().unwrap()[1..9].fill(0xff);
    }
    let mut table = Table::new(8, true);
    table.load(changed.iter().filter_map(|row| rows::read("n", row)));
    let (seen, _) = table.observe(&sighting(id(2)));
    assert_eq!((seen.index, table.get(session)), (1, None));
}

fn commit(table: &mut Table, stored: &mut HashMap<(u8, Vec<u8>), Vec<u8>>, model: &Model, committed: &mut Model) {
    let mut changed = Vec::new();
    table.changed_rows("n", &mut changed);
    store(stored, changed);
    table.commit();
    *committed = model.clone();
}

fn store(stored: &mut HashMap<(u8, Vec<u8>), Vec<u8>>, changed: Vec<Row>) {
    for Row { table, key, value } in changed {
        match value {
            Some(value) => stored.insert((table, key), value),
            None => stored.remove(&(table, key)),
        };
    }
}

fn rows(stored: &HashMap<(u8, Vec<u8>), Vec<u8>>) -> Vec<Row> {
    stored
        .iter()
        .map(|((table, key), value)| Row { table: *table, key: key.clone(), value: Some(value.clone()) })
        .collect()
}

fn id(number: u8) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

fn step() -> impl Strategy<Value = Step> {
    let kind =
        prop::sample::select(vec![SightingKind::Start, SightingKind::End, SightingKind::Other, SightingKind::Other]);
    let see = (1..7_u8, 0..3_u8, kind, prop::option::of(1..9_u32), prop::option::of(1..7_u8))
        .prop_map(|(session, user, kind, index, previous)| Step::See { session, user, kind, index, previous });
    prop_oneof![
        8 => see,
        1 => (1..7_u8).prop_map(Step::Close),
        2 => Just(Step::Commit),
        1 => Just(Step::RollBack),
        1 => Just(Step::Restart),
    ]
}
