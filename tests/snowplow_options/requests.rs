//! What requests look like, and where they go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, SystemTime};

use otel_session::SnowplowExporter;
use otel_session::export::snowplow::{Collector, Method};
use otel_session::testing::ManualClock;

use crate::recorder::{BOUND, Recorder};
use crate::rig::{FIRST, Rig, SECOND};

const TP2: &str = "/com.snowplowanalytics.snowplow/tp2";

/// Everything waits for a flush.
pub const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn events_are_posted_as_payload_data() {
    let rig = Rig::new();
    rig.start(FIRST);
    let request = rig.collector.wait_requests(1).remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", TP2));
    assert_eq!(request.header("content-type"), Some("application/json; charset=utf-8"));
    let event = request.events().remove(0);
    for key in ["e", "eid", "tv", "p", "tna", "aid", "dtm", "stm"] {
        assert!(event.text(key).is_some_and(|it| !it.is_empty()), "{key}");
    }
}

#[test]
fn a_get_carries_one_event_in_its_url() {
    let rig = Rig::with(|builder| builder.with_method(Method::Get).with_batch_size(10).with_schedule_delay(HOUR));
    rig.event("session.start", FIRST, &[("note", "✓ à la mode & more=?")]);
    rig.named(FIRST);
    rig.flush();
    let requests = rig.collector.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!((request.method.as_str(), request.route()), ("GET", "/i"));
        assert!(request.path.starts_with("/i?stm="), "{}", request.path);
        assert!(request.body.is_empty() && request.header("content-type").is_none());
    }
    let event = requests[0].events().remove(0);
    // base64 is the default of GET.
    assert!(event.text("ue_px").is_some() && event.text("cx").is_some());
    assert!(event.own().1.to_string().contains("✓ à la mode & more=?"));
    assert_eq!(event.entity("client_session").unwrap()["sessionId"], FIRST);
}

#[test]
fn a_get_without_base64_survives_unicode() {
    let rig = Rig::with(|builder| builder.with_method(Method::Get).with_base64(false));
    rig.event("session.start", FIRST, &[("note", "✓ à la mode 100%+1")]);
    let event = rig.collector.wait_events(1).remove(0);
    assert!(event.own().1.to_string().contains("✓ à la mode 100%+1"));
}

/// As `encodeURIComponent` of JavaScript does it: forms write a blank as `+`, and so the collector here would not tell.
#[test]
fn a_url_is_percent_encoded_begins_with_its_time_and_ends_with_its_contexts() {
    for (base64, contexts) in [(false, "co"), (true, "cx")] {
        let rig = Rig::with(|builder| builder.with_method(Method::Get).with_base64(base64));
        rig.event("session.start", FIRST, &[("user.id", "✓ à+b!"), ("note", "c d")]);
        let path = rig.collector.wait_requests(1).remove(0).path;
        assert!(path.contains("&uid=%E2%9C%93%20%C3%A0%2Bb!&") && !path.contains('+'), "{path}");
        let (_, query) = path.split_once('?').unwrap();
        let keys: Vec<_> = query.split('&').map(|pair| pair.split('=').next().unwrap()).collect();
        assert_eq!((keys.first(), keys.last()), (Some(&"stm"), Some(&contexts)), "{keys:?}");
        assert_eq!(query.matches('=').count(), keys.len(), "base64 without padding: {query}");
    }
}

#[test]
fn a_get_that_would_be_too_long_is_one_post() {
    let rig = Rig::with(|builder| builder.with_method(Method::Get).with_max_get_bytes(2000));
    rig.named(FIRST);
    rig.event("checkout", FIRST, &[("note", &"x".repeat(3000))]);
    rig.named(FIRST);
    rig.flush();
    let sent: Vec<_> = rig.collector.requests().iter().map(|it| (it.method.clone(), it.events().len())).collect();
    assert_eq!(sent, [("GET".to_owned(), 1), ("POST".to_owned(), 1), ("GET".to_owned(), 1)]);
}

#[test]
fn the_limit_of_a_get_counts_the_whole_url() {
    let long = Rig::with(|builder| builder.with_method(Method::Get));
    long.named(FIRST);
    let length = long.collector.wait_requests(1)[0].path.len() + long.collector.url().len();
    let namespace = long.exporter.namespace().len();
    for (limit, method) in [(length, "GET"), (length - 1, "POST")] {
        // The same event again, under a name of the same length.
        let name = format!("{:x<namespace$}", limit);
        let rig = Rig::with(|builder| builder.with_method(Method::Get).with_max_get_bytes(limit).with_namespace(name));
        rig.named(FIRST);
        assert_eq!(rig.collector.wait_requests(1)[0].method, method, "{limit}");
    }
}

#[test]
fn without_settings_a_url_of_16_384_bytes_is_a_get_and_a_longer_one_a_post() {
    let sent = |name: &str, note: usize| {
        let rig = Rig::with(|builder| builder.with_method(Method::Get).with_base64(false).with_namespace(name));
        rig.event("checkout", FIRST, &[("note", &"x".repeat(note))]);
        let request = rig.collector.wait_requests(1).remove(0);
        (request.method, request.path.len() + rig.collector.url().len())
    };
    let (_, around) = sent("get-default-0", 1);
    let fits = 1 + 16_384 - around;
    assert_eq!(sent("get-default-1", fits), ("GET".to_owned(), 16_384));
    assert_eq!(sent("get-default-2", fits + 1).0, "POST");
}

#[test]
fn the_time_of_sending_is_fresh_in_each_attempt_and_can_be_left_out_of_a_get() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000));
    let collector = Recorder::answering(|number, _| Some((if number == 0 { 500 } else { 200 }, Vec::new())));
    let (failed, failures) = std::sync::mpsc::channel();
    let rig = Rig::on(collector, |builder| {
        builder.with_clock(clock.clone()).on_request_failure(move |_| failed.send(()).unwrap())
    });
    rig.start(FIRST);
    failures.recv_timeout(BOUND).unwrap();
    assert!(clock.advance(Duration::ZERO));
    assert!(clock.advance(Duration::from_secs(60)));
    let requests = rig.collector.wait_requests(2);
    let [first, second] = [0, 1].map(|index| requests[index].events().remove(0));
    assert_eq!((first.text("stm"), second.text("stm")), (Some("1700000000000"), Some("1700000060000")));
    for key in ["eid", "dtm", "ue_pr", "co", "sid", "vid"] {
        assert_eq!(first.text(key), second.text(key), "{key}");
    }
    let without = Rig::with(|builder| builder.with_method(Method::Get).with_sent_timestamp(false));
    without.start(FIRST);
    assert_eq!(without.collector.wait_events(1)[0].text("stm"), None);
    let posted = Rig::with(|builder| builder.with_sent_timestamp(false));
    posted.start(FIRST);
    assert!(posted.collector.wait_events(1)[0].text("stm").is_some());
}

#[test]
fn the_path_of_posts_and_the_prefix_of_the_endpoint_are_kept() {
    let collector = Recorder::start();
    let exporter = SnowplowExporter::builder()
        .with_endpoint(format!("{}/behind/a/proxy/", collector.url()))
        .with_post_path("/custom/path")
        .build()
        .unwrap();
    let rig = Rig::around(collector, exporter);
    rig.start(FIRST);
    assert_eq!(rig.collector.wait_requests(1)[0].path, "/behind/a/proxy/custom/path");
    let get = Recorder::start();
    let exporter = SnowplowExporter::builder()
        .with_endpoint(format!("{}/behind", get.url()))
        .with_method(Method::Get)
        .build()
        .unwrap();
    let rig = Rig::around(get, exporter);
    rig.start(FIRST);
    assert_eq!(rig.collector.wait_requests(1)[0].route(), "/behind/i");
}

#[test]
fn an_endpoint_without_a_scheme_is_https() {
    let built = SnowplowExporter::builder().with_endpoint("127.0.0.1:9").build();
    if cfg!(feature = "tls") {
        assert!(built.is_ok());
    } else {
        let error = built.unwrap_err().to_string();
        assert!(error.contains("https") && error.contains("`tls`"), "{error}");
    }
}

#[test]
fn custom_headers_are_sent_with_posts_and_gets_and_never_shown() {
    for method in [Method::Post, Method::Get] {
        let collector = Recorder::start();
        let builder = SnowplowExporter::builder()
            .with_collector(Collector::new(collector.url()).with_header("X-Own", "s3cret-own"))
            .with_method(method)
            .with_custom_header("Content-Language", "de-DE, en-CA")
            .with_id_service(format!("{}/?key=s3cret", Recorder::start().url()))
            .with_custom_headers([("Authorization", "Bearer s3cret"), ("X-Own", "common")]);
        assert!(!format!("{builder:?}").contains("s3cret"), "{builder:?}");
        let refused = SnowplowExporter::builder().with_endpoint("http://ada:s3cret@host");
        assert!(!format!("{refused:?}").contains("s3cret"), "{refused:?}");
        assert!(!refused.build().unwrap_err().to_string().contains("s3cret"));
        let rig = Rig::around(collector, builder.build().unwrap());
        rig.start(FIRST);
        let request = rig.collector.wait_requests(1).remove(0);
        assert_eq!(request.header("Content-Language"), Some("de-DE, en-CA"));
        assert_eq!(request.header("Authorization"), Some("Bearer s3cret"));
        assert_eq!(request.header("X-Own"), Some("s3cret-own"));
        assert!(!format!("{:?}", rig.exporter).contains("s3cret"));
    }
}

#[test]
fn the_collectors_cookie_is_kept_only_in_a_jar() {
    for (jar, sent) in [(true, Some("sp=n1")), (false, None)] {
        let collector = Recorder::answering(|_, _| {
            Some((200, vec![("set-cookie", "sp=n1; Path=/; Max-Age=31536000; HttpOnly".to_owned())]))
        });
        let rig = Rig::on(collector, |builder| builder.with_cookie_jar(jar));
        rig.start(FIRST);
        rig.flush();
        rig.named(FIRST);
        rig.flush();
        let requests = rig.collector.wait_requests(2);
        assert_eq!((requests[0].header("cookie"), requests[1].header("cookie")), (None, sent));
    }
}

#[test]
fn each_collector_gets_every_event_in_its_own_way() {
    let (posted, got) = (Recorder::start(), Recorder::start());
    let exporter = SnowplowExporter::builder()
        .with_endpoint(posted.url())
        .with_collector(Collector::new("http://127.0.0.1").with_port(got.port()).with_method(Method::Get))
        .build()
        .unwrap();
    let rig = Rig::around(posted, exporter);
    rig.start(FIRST);
    rig.named(FIRST);
    let (a, b) = (rig.collector.wait_events(2), got.wait_events(2));
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.text("eid"), b.text("eid"));
        assert_eq!(a.entity("client_session"), b.entity("client_session"));
    }
    assert_eq!(got.requests()[0].method, "GET");
}

#[test]
fn a_collector_that_fails_holds_no_other_up() {
    let (broken, working) = (Recorder::status(503), Recorder::start());
    let exporter =
        SnowplowExporter::builder().with_endpoint(broken.url()).with_endpoint(working.url()).build().unwrap();
    let rig = Rig::around(working, exporter);
    rig.start(FIRST);
    broken.wait_requests(1);
    rig.named(FIRST);
    assert_eq!(rig.collector.wait_events(2).len(), 2);
    let report = rig.exporter.shutdown(Duration::from_millis(50));
    let pending: Vec<_> = report.collectors.iter().map(|it| (it.delivered, it.pending)).collect();
    assert_eq!(pending, [(0, 2), (2, 0)]);
    assert_eq!((report.delivered, report.pending), (2, 2));
}

/// Each would wait for the thread that it is on, or for another one whose callback waits for this one.
#[test]
fn callbacks_of_several_collectors_may_flush_and_shut_down_without_waiting() {
    for act in [|it: &SnowplowExporter| _ = it.flush(HOUR), |it: &SnowplowExporter| _ = it.shutdown(HOUR)] {
        let itself: Arc<OnceLock<SnowplowExporter>> = Arc::default();
        let of_callback = Arc::clone(&itself);
        let (one, other) = (Recorder::start(), Recorder::start());
        let exporter = SnowplowExporter::builder()
            .with_endpoint(one.url())
            .with_endpoint(other.url())
            .with_batch_size(2)
            .with_schedule_delay(HOUR)
            .with_max_batch_events(1)
            .on_request_success(move |_| act(of_callback.get().unwrap()))
            .build()
            .unwrap();
        itself.set(exporter.clone()).unwrap();
        let rig = Rig::around(one, exporter);
        rig.start(FIRST);
        rig.named(FIRST);
        rig.collector.wait_events(2);
        other.wait_events(2);
        assert_eq!(rig.exporter.shutdown(BOUND).delivered, 4);
    }
}

#[test]
fn a_new_url_takes_later_requests() {
    let rig = Rig::new();
    rig.start(FIRST);
    rig.flush();
    let elsewhere = Recorder::start();
    rig.exporter.set_collector_url(0, &format!("{}/new", elsewhere.url())).unwrap();
    rig.start(SECOND);
    rig.flush();
    assert_eq!(rig.collector.events().len(), 1);
    assert_eq!(elsewhere.requests()[0].path, format!("/new{TP2}"));
    let error = rig.exporter.set_collector_url(1, &elsewhere.url()).unwrap_err().to_string();
    assert!(error.contains("1 collector"), "{error}");
    assert!(rig.exporter.set_collector_url(0, "http://").is_err());
    let report = rig.exporter.shutdown(BOUND);
    assert_eq!(report.collectors[0].endpoint, format!("{}/new", elsewhere.url()));
    assert_eq!(rig.exporter.set_collector_url(0, "collector.example.com").is_ok(), cfg!(feature = "tls"));
}

#[test]
fn what_the_old_collector_still_answers_holds_nothing_up_at_the_new_one() {
    for status in [503, 413] {
        let moved = Arc::new(Barrier::new(2));
        let answers = Arc::clone(&moved);
        let old = Recorder::answering(move |_, _| {
            answers.wait();
            Some((status, vec![("retry-after", "3600".to_owned())]))
        });
        let rig = Rig::on(old, |builder| builder.with_batch_size(2).with_schedule_delay(HOUR));
        rig.start(FIRST);
        rig.start(SECOND);
        rig.collector.wait_requests(1);
        let new = Recorder::start();
        rig.exporter.set_collector_url(0, &new.url()).unwrap();
        moved.wait();
        assert_eq!(new.wait_requests(1)[0].events().len(), 2, "{status}");
        rig.flush();
        assert_eq!((rig.collector.requests().len(), new.requests().len()), (1, 1), "{status}");
    }
}

#[test]
fn an_id_service_is_asked_once_and_first() {
    let service = Recorder::answering(|number, _| Some((if number == 0 { 503 } else { 200 }, Vec::new())));
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000));
    let (failed, failures) = std::sync::mpsc::channel();
    let rig = Rig::with(|builder| {
        builder
            .with_id_service(format!("{}/identify?x=1", service.url()))
            .with_clock(clock.clone())
            .on_request_failure(move |_| failed.send(()).unwrap())
    });
    rig.start(FIRST);
    failures.recv_timeout(BOUND).unwrap();
    assert!(clock.advance(Duration::ZERO));
    // The service failed, and so did the flush that asked it.
    assert!(rig.collector.requests().is_empty());
    assert!(clock.advance(Duration::from_secs(60)));
    rig.collector.wait_events(1);
    rig.named(FIRST);
    rig.collector.wait_events(2);
    let asked = service.requests();
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("GET", "/identify?x=1"));
}

#[test]
fn a_client_of_ones_own_makes_the_requests() {
    #[derive(Debug)]
    struct Counting(Arc<AtomicUsize>);

    impl otel_session::export::HttpClient for Counting {
        fn send_bytes<'a, 'b>(
            &'a self,
            _: http::Request<bytes::Bytes>,
        ) -> std::pin::Pin<
            Box<dyn Future<Output = Result<http::Response<bytes::Bytes>, otel_session::export::HttpError>> + Send + 'b>,
        >
        where
            'a: 'b,
            Self: 'b,
        {
            self.0.fetch_add(1, Ordering::AcqRel);
            Box::pin(async { Ok(http::Response::new(bytes::Bytes::new())) })
        }
    }

    let sent = Arc::new(AtomicUsize::new(0));
    // https needs no feature with a client of one's own.
    let exporter = SnowplowExporter::builder()
        .with_endpoint("collector.example.com")
        .with_http_client(Counting(sent.clone()))
        .build()
        .unwrap();
    let rig = Rig::around(Recorder::start(), exporter);
    rig.start(FIRST);
    rig.flush();
    assert_eq!(sent.load(Ordering::Acquire), 1);
}
