//! Random operations against a reference: what sessions do must be what a few lines of arithmetic say.
//!
//! The reference knows nothing of threads, queues or clocks: it is a list of sessions and a number that says what time it
//! is. Every record that is exported is compared with what it expects, and every answer of the API.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod support;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::logs::LoggerProvider as _;
use opentelemetry::trace::{Span as _, TracerProvider as _};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use otel_session::testing::{CapturedLogs, CapturedSpans, ManualClock};
use otel_session::{Activity, Session, Sessions};
use proptest::prelude::*;

use support::pipelines::Kind;
use support::{Line, attribute, emit, epoch, lines, session_id, start_span};

const SECOND: i64 = 1_000_000_000;

#[derive(Debug, Clone)]
struct Settings {
    timeout: i64,
    background: Option<i64>,
    max: Option<i64>,
    explicit: bool,
    batched: bool,
}

/// A moment, as an operation names it.
#[derive(Debug, Clone, Copy)]
enum When {
    Now,
    Relative(i64),
    /// Next to the moment where the last session became the next.
    Boundary(i64),
}

#[derive(Debug, Clone, Copy)]
enum HowLong {
    Exactly(i64),
    /// Next to the inactivity timeout.
    Timeout(i64),
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Log {
        pipeline: usize,
        own_time: Option<When>,
    },
    StartSpan(When),
    /// Ends the oldest open span, with an event.
    EndSpan(When),
    Rotate,
    End,
    RecordActivity,
    Current,
    Background(bool),
    User(Option<u8>),
    Advance(HowLong),
    Suspend(HowLong),
    Attach,
    Detach(usize),
    Shutdown,
}

fn settings() -> impl Strategy<Value = Settings> {
    let duration = || (1..60i64).prop_map(|seconds| seconds * SECOND);
    (duration(), proptest::option::of(duration()), proptest::option::of(0..100i64), any::<bool>(), any::<bool>())
        .prop_map(|(timeout, background, beyond, explicit, batched)| {
            let longest = timeout.max(background.unwrap_or(0));
            let max = beyond.map(|beyond| longest + beyond * SECOND);
            Settings { timeout, background, max, explicit, batched }
        })
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        2 => Just(When::Now),
        3 => (-200 * SECOND..50 * SECOND).prop_map(When::Relative),
        2 => (-1..=1i64).prop_map(When::Boundary),
    ]
}

fn how_long() -> impl Strategy<Value = HowLong> {
    prop_oneof![(0..90 * SECOND).prop_map(HowLong::Exactly), (-1..=1i64).prop_map(HowLong::Timeout)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..2usize, proptest::option::of(when())).prop_map(|(pipeline, own_time)| Op::Log { pipeline, own_time }),
        4 => when().prop_map(Op::StartSpan),
        4 => when().prop_map(Op::EndSpan),
        2 => Just(Op::Rotate),
        2 => Just(Op::End),
        3 => Just(Op::RecordActivity),
        2 => Just(Op::Current),
        2 => any::<bool>().prop_map(Op::Background),
        2 => proptest::option::of(0..3u8).prop_map(Op::User),
        6 => how_long().prop_map(Op::Advance),
        4 => how_long().prop_map(Op::Suspend),
        1 => Just(Op::Attach),
        1 => (0..2usize).prop_map(Op::Detach),
        1 => prop_oneof![3 => Just(Op::Current), 1 => Just(Op::Shutdown)],
    ]
}

/// What an exporter is expected to get. Sessions are their numbers, times nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
enum Expected {
    Start { session: u64, previous: Option<u64>, user: Option<u8>, at: i64, seen: i64 },
    End { session: u64, previous: Option<u64>, user: Option<u8>, at: i64, seen: i64, reason: &'static str },
    Log { session: Option<u64>, user: Option<u8> },
}

#[derive(Debug, Clone)]
struct Known {
    number: u64,
    previous: Option<u64>,
    user: Option<u8>,
    /// The user as the session began, whom its start tells.
    began_as: Option<u8>,
    start: i64,
    last_activity: i64,
    window_from: i64,
}

/// Time until a moment belonged to a session and its user.
#[derive(Debug, Clone)]
struct Stretch {
    until: i64,
    session: u64,
    user: Option<u8>,
}

#[derive(Debug, Default)]
struct Pipe {
    attached: bool,
    gone: bool,
    lines: Vec<Expected>,
}

/// The reference.
#[derive(Debug)]
struct Model {
    settings: Settings,
    now: i64,
    live: Option<Known>,
    last: Option<Known>,
    past: Vec<Stretch>,
    linked: bool,
    not_before: i64,
    count: u64,
    background: bool,
    user: Option<u8>,
    stopped: bool,
    pipes: [Pipe; 2],
    backlog: Vec<Expected>,
    undelivered: u64,
    spans: Vec<Vec<(Option<u64>, Option<u8>)>>,
}

impl Model {
    fn new(settings: Settings, now: i64) -> Self {
        let pipes = [Pipe { attached: true, ..Pipe::default() }, Pipe::default()];
        Self {
            settings,
            now,
            live: None,
            last: None,
            past: Vec::new(),
            linked: false,
            not_before: i64::MIN,
            count: 0,
            background: false,
            user: None,
            stopped: false,
            pipes,
            backlog: Vec::new(),
            undelivered: 0,
            spans: Vec::new(),
        }
    }

    fn timeout(&self) -> i64 {
        let Settings { timeout, background, .. } = self.settings;
        if self.background { background.unwrap_or(timeout) } else { timeout }
    }

    /// When the live session will be over, why, and when it then will have ended.
    fn deadline(&self) -> Option<(i64, &'static str, i64)> {
        let live = self.live.as_ref()?;
        let idle = live.last_activity.max(live.window_from) + self.timeout();
        match self.settings.max {
            Some(max) if live.start + max <= idle => Some((live.start + max, "max_duration", live.start + max)),
            _ => Some((idle, "inactivity", live.last_activity)),
        }
    }

    fn record(&mut self, record: Expected) {
        if self.pipes.iter().any(|pipe| pipe.attached) {
            self.pipes.iter_mut().filter(|pipe| pipe.attached).for_each(|pipe| pipe.lines.push(record.clone()));
        } else {
            self.backlog.push(record);
        }
    }

    fn close(&mut self, boundary: i64, reason: &'static str, at: i64) {
        let Some(live) = self.live.take() else { return };
        let at = at.max(live.start);
        let Known { number: session, previous, user, .. } = live;
        self.record(Expected::End { session, previous, user, at, seen: self.now, reason });
        self.past.push(Stretch { until: boundary, session, user });
        self.not_before = boundary.max(at);
        self.last = Some(live);
        self.linked = true;
    }

    fn end_if_due(&mut self) {
        if let Some((deadline, reason, at)) = self.deadline()
            && self.now >= deadline
        {
            self.close(deadline, reason, at);
        }
    }

    fn end_now(&mut self, reason: &'static str) {
        self.end_if_due();
        self.close(self.now, reason, self.now);
    }

    fn start(&mut self, own_time: Option<i64>) {
        self.count += 1;
        let previous = self.last.as_ref().filter(|_| self.linked).map(|last| last.number);
        let start = own_time.unwrap_or(self.now).min(self.now).max(self.not_before);
        // No session is over as it starts.
        let start = if self.settings.max.is_some_and(|max| start + max <= self.now) { self.now } else { start };
        let (number, user) = (self.count, self.user);
        self.live = Some(Known {
            number,
            previous,
            user,
            began_as: user,
            start,
            last_activity: self.now,
            window_from: self.now,
        });
        self.linked = true;
        self.record(Expected::Start { session: number, previous, user, at: start, seen: self.now });
    }

    /// A signal or a call that needs a session.
    fn touch(&mut self, activity: bool, own_time: Option<i64>) -> Option<&Known> {
        if self.stopped {
            return self.last.as_ref();
        }
        self.end_if_due();
        match &mut self.live {
            None => self.start(own_time),
            Some(live) if activity => live.last_activity = self.now,
            Some(_) => {}
        }
        self.live.as_ref()
    }

    /// The session and the user at a moment.
    fn at(&self, at: i64) -> (Option<u64>, Option<u8>) {
        if let Some(stretch) = self.past.iter().find(|stretch| at < stretch.until) {
            return (Some(stretch.session), stretch.user);
        }
        let latest = self.live.as_ref().or(self.last.as_ref());
        (latest.map(|it| it.number), latest.and_then(|it| it.user))
    }

    fn log(&mut self, pipeline: usize, own_time: Option<i64>) {
        if self.pipes[pipeline].gone {
            // Our batch processor says that it is lost; of other processors only they know.
            self.undelivered += u64::from(self.settings.batched);
            return;
        }
        let activity = !self.settings.explicit;
        let now = self.touch(activity, own_time).map(|it| (it.number, it.user));
        let (session, user) = match (own_time, now) {
            (_, None) => (None, None),
            (None, Some((session, user))) => (Some(session), user),
            (Some(at), Some(_)) => self.at(at),
        };
        let pipe = &mut self.pipes[pipeline];
        if pipe.attached {
            pipe.lines.push(Expected::Log { session, user });
        }
    }

    fn set_background(&mut self, background: bool) {
        self.end_if_due();
        if self.background != background {
            self.background = background;
            if let Some(live) = &mut self.live {
                live.window_from = self.now;
            }
        }
    }

    fn set_user(&mut self, user: Option<u8>) {
        self.end_if_due();
        if self.user != user {
            self.user = user;
            if let Some(live) = &mut self.live {
                self.past.push(Stretch { until: self.now, session: live.number, user: live.user });
                live.user = user;
            }
        }
    }

    fn attach(&mut self, pipeline: usize) {
        self.end_if_due();
        let first = self.pipes.iter().all(|pipe| !pipe.attached);
        let pipe = &mut self.pipes[pipeline];
        pipe.attached = true;
        if first {
            pipe.lines.append(&mut self.backlog);
        }
        if let Some(live) = &self.live {
            let Known { number: session, previous, began_as: user, start: at, .. } = *live;
            let told = |line: &Expected| matches!(line, Expected::Start { session: told, .. } if *told == session);
            if !pipe.lines.iter().any(told) {
                pipe.lines.push(Expected::Start { session, previous, user, at, seen: self.now });
            }
        }
    }

    fn detach(&mut self, pipeline: usize) {
        let last = self.pipes.iter().enumerate().all(|(other, pipe)| other == pipeline || !pipe.attached);
        if self.pipes[pipeline].attached && last {
            self.end_now("shutdown");
        }
        self.pipes[pipeline].attached = false;
        self.pipes[pipeline].gone = true;
    }

    fn shutdown(&mut self) {
        self.end_now("shutdown");
        self.stopped = true;
        self.undelivered += self.backlog.drain(..).count() as u64;
    }
}

fn nanos(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

fn time(nanos: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + duration(nanos)
}

fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap())
}

fn user_name(user: u8) -> String {
    format!("user-{user}")
}

fn id(session: u64) -> String {
    format!("session-{session}")
}

/// The real thing.
struct Real {
    clock: ManualClock,
    sessions: Sessions,
    kind: Kind,
    logs: [CapturedLogs; 2],
    providers: [Option<SdkLoggerProvider>; 2],
    loggers: [Option<SdkLogger>; 2],
    spans: CapturedSpans,
    tracers: SdkTracerProvider,
    tracer: SdkTracer,
    open: VecDeque<(i64, Span)>,
}

impl Real {
    fn new(settings: &Settings) -> Self {
        let clock = ManualClock::new(epoch());
        let number = AtomicU64::new(0);
        let mut builder = Sessions::builder()
            .with_clock(clock.clone())
            .with_inactivity_timeout(duration(settings.timeout))
            .with_id_generator(move || id(number.fetch_add(1, Ordering::SeqCst) + 1));
        if let Some(background) = settings.background {
            builder = builder.with_background_timeout(duration(background));
        }
        if let Some(max) = settings.max {
            builder = builder.with_max_duration(duration(max));
        }
        if settings.explicit {
            builder = builder.with_activity(Activity::Explicit);
        }
        let sessions = builder.build().unwrap();
        let kind = if settings.batched { Kind::Batch } else { Kind::Simple };
        let spans = CapturedSpans::default();
        let tracers = kind.tracers(&sessions, spans.clone());
        let tracer = tracers.tracer("model");
        let mut real = Self {
            clock,
            sessions,
            kind,
            logs: Default::default(),
            providers: Default::default(),
            loggers: Default::default(),
            spans,
            tracers,
            tracer,
            open: VecDeque::new(),
        };
        real.attach(0);
        real
    }

    fn attach(&mut self, pipeline: usize) {
        let provider = self.kind.loggers(&self.sessions, self.logs[pipeline].clone());
        self.loggers[pipeline] = Some(provider.logger("model"));
        self.providers[pipeline] = Some(provider);
    }
}

struct Run {
    real: Real,
    model: Model,
}

impl Run {
    fn new(settings: &Settings) -> Self {
        Self { real: Real::new(settings), model: Model::new(settings.clone(), nanos(epoch())) }
    }

    fn resolve(&self, when: When) -> i64 {
        let boundary = self.model.past.last().map_or(self.model.now, |stretch| stretch.until);
        match when {
            When::Now => self.model.now,
            When::Relative(nanos) => self.model.now + nanos,
            When::Boundary(nanos) => boundary + nanos,
        }
    }

    fn how_long(&self, how_long: HowLong) -> i64 {
        match how_long {
            HowLong::Exactly(nanos) => nanos,
            HowLong::Timeout(nanos) => self.model.timeout() + nanos,
        }
    }

    /// Lets the keeper do what is due, so that a move of the clock finds it parked.
    fn settle(&mut self) {
        assert!(self.real.clock.advance(Duration::ZERO));
        self.model.end_if_due();
    }

    fn apply(&mut self, op: Op) {
        let (real, model) = (&mut self.real, &mut self.model);
        match op {
            Op::Log { pipeline, own_time } => {
                let at = own_time.map(|when| self.resolve(when));
                if let Some(logger) = &self.real.loggers[pipeline] {
                    emit(logger, "log", at.map(time));
                    self.model.log(pipeline, at);
                }
            }
            Op::StartSpan(when) => {
                let at = self.resolve(when);
                self.real.open.push_back((at, start_span(&self.real.tracer, "span", time(at))));
                self.model.touch(!self.model.settings.explicit, Some(at));
            }
            Op::EndSpan(when) => {
                let event = self.resolve(when);
                let Some((start, mut span)) = self.real.open.pop_front() else { return };
                span.add_event_with_timestamp("event", time(event), vec![]);
                span.end();
                self.real.tracers.force_flush().unwrap();
                self.model.spans.push(vec![self.model.at(start), self.model.at(event)]);
            }
            Op::Rotate if model.stopped => compare_after_stop(&real.sessions.rotate(), model),
            Op::Rotate => {
                model.end_now("rotated");
                model.start(None);
                compare(Some(&real.sessions.rotate()), model.live.as_ref());
            }
            Op::End => {
                real.sessions.end();
                model.end_now("ended");
                model.linked = false;
            }
            Op::RecordActivity if model.stopped => compare_after_stop(&real.sessions.record_activity(), model),
            Op::RecordActivity => {
                compare(Some(&real.sessions.record_activity()), model.touch(true, None));
            }
            Op::Current => {
                let live = model.deadline().filter(|(deadline, ..)| model.now < *deadline);
                compare(real.sessions.current().as_ref(), live.and(model.live.as_ref()));
            }
            Op::Background(background) => {
                real.sessions.set_background(background);
                model.set_background(background);
            }
            Op::User(user) => {
                real.sessions.set_user_id(user.map(user_name).as_deref());
                model.set_user(user);
            }
            Op::Advance(by) => {
                let by = self.how_long(by);
                self.settle();
                assert!(self.real.clock.advance(duration(by)));
                self.model.now += by;
                self.model.end_if_due();
            }
            Op::Suspend(by) => {
                let by = self.how_long(by);
                self.settle();
                self.real.clock.suspend(duration(by));
                self.model.now += by;
            }
            Op::Attach => {
                if let Some(pipeline) = (0..2).find(|it| !model.pipes[*it].attached && !model.pipes[*it].gone) {
                    real.attach(pipeline);
                    model.attach(pipeline);
                }
            }
            Op::Detach(pipeline) => {
                // Its logger stays: what it emits is lost, and is no activity.
                if let Some(provider) = real.providers[pipeline].take() {
                    provider.shutdown().unwrap();
                    model.detach(pipeline);
                }
            }
            Op::Shutdown => {
                real.sessions.shutdown(Duration::from_secs(20)).unwrap();
                model.shutdown();
            }
        }
    }

    fn finish(mut self) {
        self.apply(Op::Shutdown);
        self.apply(Op::Detach(0));
        self.apply(Op::Detach(1));
        for (logs, pipe) in self.real.logs.iter().zip(&self.model.pipes) {
            let seen: Vec<_> = lines(logs).iter().map(expected).collect();
            if self.model.settings.batched {
                // Logs of the session before and lifecycle records may trade places.
                let split = |lines: &[Expected]| -> (Vec<_>, Vec<_>) {
                    lines.iter().cloned().partition(|line| matches!(line, Expected::Log { .. }))
                };
                assert_eq!(split(&seen), split(&pipe.lines));
            } else {
                assert_eq!(seen, pipe.lines);
            }
        }
        let spans: Vec<_> = self.real.spans.spans().iter().map(span_ids).collect();
        let wanted: Vec<_> = self
            .model
            .spans
            .iter()
            .map(|ids| ids.iter().map(|(session, user)| (session.map(id), user.map(user_name))).collect::<Vec<_>>())
            .collect();
        assert_eq!(spans, wanted);
        assert_eq!(self.real.sessions.losses().total(), self.model.undelivered, "{}", self.real.sessions.losses());
    }
}

fn span_ids(span: &opentelemetry_sdk::trace::SpanData) -> Vec<(Option<String>, Option<String>)> {
    let ids = |attributes: &[_]| (session_id(attributes), attribute(attributes, "user.id"));
    std::iter::once(ids(&span.attributes)).chain(span.events.iter().map(|event| ids(&event.attributes))).collect()
}

fn compare(real: Option<&Session>, model: Option<&Known>) {
    let real = real.map(|it| {
        let texts = (it.id().to_owned(), it.previous_id().map(str::to_owned), it.user_id().map(str::to_owned));
        (texts, it.index(), nanos(it.started_at()))
    });
    let model = model.map(|it| ((id(it.number), it.previous.map(id), it.user.map(user_name)), it.number, it.start));
    assert_eq!(real, model);
}

/// After the shutdown it is the last session, or one that never was.
fn compare_after_stop(real: &Session, model: &Model) {
    match &model.last {
        None => assert_eq!(real.index(), 0),
        Some(last) => compare(Some(real), Some(last)),
    }
}

/// A line in the words of the model.
fn expected(line: &Line) -> Expected {
    let number = |id: &String| id.strip_prefix("session-").unwrap().parse::<u64>().unwrap();
    let (session, previous) = (line.id.as_ref().map(number), line.previous_id.as_ref().map(number));
    let user = line.user_id.as_ref().map(|user| user.strip_prefix("user-").unwrap().parse::<u8>().unwrap());
    if !line.is_lifecycle() {
        return Expected::Log { session, user };
    }
    let (session, at, seen) = (session.unwrap(), nanos(line.at.unwrap()), nanos(line.observed_at.unwrap()));
    match line.reason.as_deref() {
        None => Expected::Start { session, previous, user, at, seen },
        Some(reason) => {
            let reasons = ["inactivity", "max_duration", "rotated", "ended", "shutdown"];
            let reason = reasons.into_iter().find(|it| *it == reason).unwrap();
            Expected::End { session, previous, user, at, seen, reason }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sessions_do_what_the_reference_says(settings in settings(), ops in proptest::collection::vec(op(), 1..60)) {
        let mut run = Run::new(&settings);
        for op in ops {
            run.apply(op);
        }
        run.finish();
    }
}
