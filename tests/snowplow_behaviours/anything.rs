//! Behaviour 47 for records of any content: what arrives is good, and what cannot be is refused here and counted.

use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use otel_session::Loss;
use otel_session::export::snowplow::{Anonymity, EventStyle, Method, SessionIdPolicy};

use crate::bench::{Bench, FIRST, SECOND};

const RECORDS: u64 = 400;

/// Attributes that mean something to the bridge, and some that do not.
const KEYS: &[&str] = &[
    "session.id",
    "session.previous_id",
    "user.id",
    "app.installation.id",
    "otel_session.index",
    "otel_session.duration",
    "otel_session.end.reason",
    "otel_session.storage",
    "otel_session.sampled",
    "log.record.uid",
    "event.name",
    "user_agent.original",
    "client.address",
    "browser.language",
    "url.full",
    "snowplow.page",
    "snowplow.refr",
    "snowplow.res",
    "snowplow.vp",
    "snowplow.ds",
    "snowplow.cd",
    "snowplow.tz",
    "snowplow.cs",
    "snowplow.sid",
    "snowplow.vid",
    "snowplow.eid",
    "snowplow.dtm",
    "snowplow.tnuid",
    "snowplow.cookies_enabled",
    "snowplow.online",
    "snowplow.device_pixel_ratio",
    "snowplow.document_language",
    "snowplow.webdriver",
    "snowplow.device_memory",
    "snowplow.hardware_concurrency",
    "snowplow.tab_id",
    "network.user",
    "cart.items",
    "",
    "quote\"d \\ key\n",
    "ключ",
];

const NAMES: &[&str] = &[
    "session.start",
    "session.end",
    "checkout",
    "",
    "with blanks and / slashes",
    "✓ à la mode",
    "a\"b\\c\u{0}d",
    "session.start ",
    "-",
    "...",
];

const TEXTS: &[&str] = &[
    "",
    " ",
    FIRST,
    SECOND,
    "00000000-0000-0000-0000-000000000000",
    "ABCDEFAB-CDEF-4ABC-8DEF-ABCDEFABCDEF",
    "0123456789abcdef0123456789abcdef",
    "1234567891234",
    "✓ à la mode \u{0}\u{1}\u{7f}\t\r\n\u{2028}😀",
    "192.0.2.1",
    "2001:db8::1",
    "192.0.2.1, 198.51.100.2",
    "https://shop.example.com/a b?q=✓#f",
    "not a url",
    "1920x1080",
    "0x0",
    "-1",
    "99999999999999999999",
    "1e400",
    "true",
    "en-GB",
    "null",
    "</script>",
    "' OR 1=1 --",
];

/// A small generator: the same records in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    fn text(&mut self) -> String {
        match self.below(12) {
            0 => "ü".repeat(usize::try_from(self.below(12_000)).unwrap()),
            1 => "\u{1}\"".repeat(usize::try_from(self.below(3000)).unwrap()),
            _ => self.of(TEXTS).to_owned(),
        }
    }

    fn value(&mut self, depth: u32) -> AnyValue {
        match self.below(if depth > 4 { 5 } else { 8 }) {
            0 => AnyValue::Int(self.of(&[0, 1, -1, 7, 255, 2_147_483_648, i64::MIN, i64::MAX])),
            1 => AnyValue::Double(self.of(&[0.0, -0.5, 12.25, 1e300, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE])),
            2 => AnyValue::Boolean(self.below(2) == 0),
            3 => AnyValue::Bytes(Box::new(vec![0, 255, 34])),
            4 | 5 => self.text().into(),
            6 => AnyValue::ListAny(Box::new((0..self.below(4)).map(|_| self.value(depth + 1)).collect())),
            _ => AnyValue::Map(Box::new(
                (0..self.below(4)).map(|_| (Key::from(self.of(KEYS)), self.value(depth + 1))).collect(),
            )),
        }
    }

    fn time(&mut self) -> SystemTime {
        let (epoch, year) = (SystemTime::UNIX_EPOCH, Duration::from_secs(31_556_952));
        match self.below(8) {
            0 => epoch - year * 100,
            1 => epoch,
            2 => epoch + year * 250,
            3 => epoch + year * 9000,
            _ => crate::bench::epoch() + Duration::from_micros(self.below(10_000_000)),
        }
    }
}

#[track_caller]
fn all_good(name: &str, dice: &mut Dice, configure: impl FnOnce(Builder) -> Builder) {
    let bench = Bench::with(|builder| configure(builder.with_namespace(name).with_logs(true)));
    let resource = Resource::builder_empty()
        .with_attributes((0..6).map(|_| KeyValue::new(dice.of(KEYS), dice.text())))
        .with_attributes([KeyValue::new("service.name", dice.text()), KeyValue::new("service.version", dice.text())])
        .build();
    let loggers =
        SdkLoggerProvider::builder().with_resource(resource).with_simple_exporter(bench.exporter.clone()).build();
    let logger = loggers.logger(TEXTS[8]);
    for _ in 0..RECORDS {
        let mut record = logger.create_log_record();
        record.set_event_name(dice.of(NAMES));
        record.set_timestamp(dice.time());
        if dice.below(3) > 0 {
            record.add_attribute("session.id", dice.of(&[FIRST, SECOND, "1234567891234"]));
        }
        for _ in 0..dice.below(8) {
            record.add_attribute(dice.of(KEYS), dice.value(0));
        }
        if dice.below(3) == 0 {
            record.set_body(dice.value(0));
            record.set_severity_number(Severity::Warn);
            record.set_severity_text(dice.of(TEXTS));
            record.set_target(dice.of(TEXTS));
        }
        logger.emit(record);
    }
    let arrived = bench.all().len() as u64;
    let lost = bench.exporter.losses();
    let refused = lost.count(Loss::EventWithoutSession) + lost.count(Loss::EventSessionId);
    assert_eq!(arrived + refused, RECORDS, "{lost}");
    assert!(arrived > RECORDS / 2, "{lost}");
}

type Builder = otel_session::SnowplowExporterBuilder;

fn everything(builder: Builder) -> Builder {
    builder
        .with_max_post_bytes(900_000)
        .with_browser_context(true)
        .with_resource_context(true)
        .with_trace_context(true)
        .with_true_timestamps(true)
        .with_network_user_attribute("network.user")
        .with_number_unannounced_sessions(true)
}

#[test]
fn b47_whatever_a_record_holds_what_arrives_is_good() {
    let mut dice = Dice(47);
    all_good("any-plain", &mut dice, |it| it);
    all_good("any-everything", &mut dice, everything);
    all_good("any-base64", &mut dice, |it| everything(it).with_base64(true).with_session_ids(SessionIdPolicy::Exact));
    all_good("any-structured", &mut dice, |it| everything(it).with_event_style(EventStyle::Structured));
    all_good("any-anonymous", &mut dice, |it| everything(it).with_anonymity(Anonymity::with_session_tracking()));
    all_good("any-nobody", &mut dice, |it| {
        everything(it).with_anonymity(Anonymity::full().with_server_anonymisation())
    });
    all_good("any-get", &mut dice, |it| everything(it).with_method(Method::Get));
}
