//! Any tangle of spans, compared with a model of a page.

use proptest::prelude::*;
use tracing::field::Empty;
use tracing::span::EnteredSpan;

use super::*;

const SLOTS: usize = 6;

#[derive(Debug, Clone, Copy)]
enum Step {
    Create { slot: usize, parent: Parent, field: Field },
    Record { slot: usize, id: u8 },
    Enter { slot: usize },
    Leave { entered: usize },
    Drop { slot: usize },
    Signal(Signal),
}

#[derive(Debug, Clone, Copy)]
enum Parent {
    Contextual,
    Root,
    Explicit(usize),
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Absent,
    Empty,
    Given(u8),
}

#[derive(Debug, Clone, Copy)]
enum Signal {
    Log,
    Event,
    ImplicitSpan,
    ExplicitSpan,
}

fn step() -> impl Strategy<Value = Step> {
    let parent = prop_oneof![
        3 => Just(Parent::Contextual),
        1 => Just(Parent::Root),
        2 => (0..SLOTS).prop_map(Parent::Explicit),
    ];
    let field = prop_oneof![3 => Just(Field::Absent), 1 => Just(Field::Empty), 2 => (0..3u8).prop_map(Field::Given)];
    let signal =
        prop_oneof![Just(Signal::Log), Just(Signal::Event), Just(Signal::ImplicitSpan), Just(Signal::ExplicitSpan)];
    prop_oneof![
        4 => (0..SLOTS, parent, field).prop_map(|(slot, parent, field)| Step::Create { slot, parent, field }),
        1 => (0..SLOTS, 0..3u8).prop_map(|(slot, id)| Step::Record { slot, id }),
        4 => (0..SLOTS).prop_map(|slot| Step::Enter { slot }),
        3 => (0..SLOTS).prop_map(|entered| Step::Leave { entered }),
        2 => (0..SLOTS).prop_map(|slot| Step::Drop { slot }),
        5 => signal.prop_map(Step::Signal),
    ]
}

/// What the model knows of a span.
struct Node {
    parent: Option<usize>,
    declared: bool,
    own: Option<String>,
    at_creation: Option<String>,
    /// Its scope got another id while it was open: it has the one or the other.
    changed: bool,
}

#[derive(Default)]
struct Model {
    nodes: Vec<Node>,
    slots: [Option<(usize, Span)>; SLOTS],
    entered: Vec<(usize, EnteredSpan)>,
    /// Names of signals with the ids they should carry.
    expected: Vec<(String, Option<String>)>,
}

impl Model {
    fn scope(&self, mut node: Option<usize>) -> Option<String> {
        while let Some(index) = node {
            if let Some(id) = &self.nodes[index].own {
                return Some(id.clone());
            }
            node = self.nodes[index].parent;
        }
        None
    }

    fn current(&self) -> Option<usize> {
        self.entered.last().map(|(node, _)| *node)
    }

    fn run(&mut self, setup: &Setup, step: Step) {
        match step {
            Step::Create { slot, parent, field } => self.create(slot, parent, field),
            Step::Record { slot, id } => {
                let Some((node, span)) = &self.slots[slot] else { return };
                span.record("session.id", format!("chat-{id}"));
                if self.nodes[*node].declared {
                    self.nodes[*node].own = Some(format!("chat-{id}"));
                }
                for index in 0..self.nodes.len() {
                    self.nodes[index].changed |= self.scope(Some(index)) != self.nodes[index].at_creation;
                }
            }
            Step::Enter { slot } => {
                let Some((node, span)) = &self.slots[slot] else { return };
                if self.entered.iter().all(|(entered, _)| entered != node) {
                    self.entered.push((*node, span.clone().entered()));
                }
            }
            Step::Leave { entered } if entered < self.entered.len() => drop(self.entered.remove(entered)),
            Step::Leave { .. } => {}
            Step::Drop { slot } => self.slots[slot] = None,
            Step::Signal(signal) => self.signal(setup, signal),
        }
    }

    fn create(&mut self, slot: usize, parent: Parent, field: Field) {
        let index = self.nodes.len();
        let name = format!("span {index}");
        macro_rules! span {
            ($($parent:tt)*) => {
                match field {
                    Field::Absent => info_span!($($parent)* "span", otel.name = name),
                    Field::Empty => info_span!($($parent)* "span", otel.name = name, session.id = Empty),
                    Field::Given(id) => {
                        info_span!($($parent)* "span", otel.name = name, session.id = format!("chat-{id}"))
                    }
                }
            };
        }
        let (parent, span) = match parent {
            Parent::Contextual => (self.current(), span!()),
            Parent::Root => (None, span!(parent: None,)),
            Parent::Explicit(slot) => match &self.slots[slot] {
                None => return,
                Some((parent, span)) => (Some(*parent), span!(parent: span,)),
            },
        };
        let own = match field {
            Field::Given(id) => Some(format!("chat-{id}")),
            _ => None,
        };
        let declared = !matches!(field, Field::Absent);
        self.nodes.push(Node { parent, declared, own, at_creation: None, changed: false });
        self.nodes[index].at_creation = self.scope(Some(index));
        self.slots[slot] = Some((index, span));
    }

    fn signal(&mut self, setup: &Setup, signal: Signal) {
        let name = format!("{signal:?} {}", self.expected.len());
        self.expected.push((name.clone(), self.scope(self.current())));
        let name: &'static str = Box::leak(name.into_boxed_str());
        match signal {
            Signal::Log => setup.rig.log(name),
            Signal::Event => info!("{name}"),
            Signal::ImplicitSpan => setup.rig.tracer().start(name).end(),
            Signal::ExplicitSpan => setup.rig.span(name),
        }
    }

    fn check(mut self, setup: &Setup) {
        self.slots = Default::default();
        while let Some(last) = self.entered.pop() {
            drop(last);
        }
        let session = setup.session();
        let spans = setup.rig.finished_spans();
        let logs = setup.rig.lines();
        let id_of = |name: &str| {
            let span = spans.iter().find(|span| span.name == name).map(|span| session_id(&span.attributes));
            span.unwrap_or_else(|| logs.iter().find(|line| line.body == name).expect(name).id.clone())
        };
        for (name, expected) in &self.expected {
            assert_eq!(id_of(name).as_ref(), expected.as_ref().or(Some(&session)), "{name}");
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let name = format!("span {index}");
            let id = id_of(&name).expect("an id");
            let at_end = self.scope(Some(index));
            if node.own.is_some() || !node.changed {
                assert_eq!(Some(&id), at_end.as_ref().or(Some(&session)), "{name}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_signal_carries_the_innermost_scope(way in 0..28usize, steps in prop::collection::vec(step(), 1..40)) {
        let setup = Setup::new(every_way().nth(way).unwrap(), Rig::new());
        setup.session();
        with_default(&setup.dispatch, || {
            let mut model = Model::default();
            steps.iter().for_each(|step| model.run(&setup, *step));
            model.check(&setup);
        });
    }
}
