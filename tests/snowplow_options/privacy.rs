//! Anonymity, do-not-track and opt-out.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use otel_session::export::snowplow::{Anonymity, StateStorage, Subject};

use crate::recorder::Event;
use crate::rig::{FIRST, Rig, SECOND};

const NIL: &str = "00000000-0000-0000-0000-000000000000";

fn named() -> Subject {
    Subject::new()
        .with_user_id("ada")
        .with_domain_user_id("d5c4a3b2-0000-4000-8000-000000000001")
        .with_network_user_id("n1")
        .with_ip_address("192.0.2.7")
}

fn names_nobody(event: &Event) {
    for key in ["uid", "duid", "tnuid", "nuid", "ip"] {
        assert_eq!(event.text(key), None, "{key}");
    }
}

#[test]
fn anonymous_tracking_hides_the_user_and_the_session() {
    let rig = Rig::with(|builder| builder.with_subject(named()).with_anonymity(Anonymity::full()));
    rig.event("session.start", FIRST, &[("user.id", "ada")]);
    let event = rig.collector.wait_events(1).remove(0);
    names_nobody(&event);
    assert_eq!((event.text("sid"), event.text("vid")), (None, None));
    assert_eq!(event.entity("client_session"), None);
    assert_eq!(rig.collector.requests()[0].header("SP-Anonymous"), None);
}

#[test]
fn anonymous_session_tracking_keeps_the_session_and_masks_the_user() {
    let rig = Rig::with(|builder| builder.with_subject(named()).with_anonymity(Anonymity::with_session_tracking()));
    rig.event("session.start", FIRST, &[("user.id", "ada")]);
    rig.event("session.start", SECOND, &[("user.id", "ada"), ("session.previous_id", FIRST)]);
    let event = rig.collector.wait_events(2).remove(1);
    names_nobody(&event);
    assert_eq!(event.text("sid"), Some(SECOND));
    assert!(event.text("vid").is_some());
    let session = event.entity("client_session").unwrap();
    assert_eq!(session["userId"], NIL);
    assert!(session["previousSessionId"].is_null());
    assert_eq!(session["sessionId"], SECOND);
}

#[test]
fn server_anonymisation_adds_the_header_and_never_mixes_with_other_events() {
    let rig = Rig::with(|builder| builder.with_batch_size(100).with_schedule_delay(Duration::from_secs(3600)));
    rig.start(FIRST);
    rig.exporter.set_anonymous(Anonymity::full().with_server_anonymisation());
    rig.named(FIRST);
    rig.named(FIRST);
    rig.exporter.set_anonymous(Anonymity::off());
    rig.named(FIRST);
    rig.flush();
    let requests = rig.collector.requests();
    let sent: Vec<_> = requests.iter().map(|it| (it.header("SP-Anonymous"), it.events().len())).collect();
    assert_eq!(sent, [(None, 1), (Some("*"), 2), (None, 1)]);
}

#[test]
fn events_of_different_anonymity_never_share_a_request() {
    let rig = Rig::with(|builder| builder.with_batch_size(100).with_schedule_delay(Duration::from_secs(3600)));
    let modes = [Anonymity::off(), Anonymity::with_session_tracking(), Anonymity::full()];
    for mode in modes.into_iter().chain(modes.map(Anonymity::with_server_anonymisation)) {
        rig.exporter.set_anonymous(mode);
        rig.named(FIRST);
        rig.named(FIRST);
    }
    rig.flush();
    let requests = rig.collector.requests();
    let sent: Vec<_> = requests.iter().map(|it| (it.header("SP-Anonymous"), it.events().len())).collect();
    assert_eq!(sent, [[(None, 2); 3], [(Some("*"), 2); 3]].concat());
}

#[test]
fn server_anonymisation_can_be_had_with_the_session() {
    let anonymity = Anonymity::with_session_tracking().with_server_anonymisation();
    let rig = Rig::with(|builder| builder.with_anonymity(anonymity));
    rig.start(FIRST);
    let event = rig.collector.wait_events(1).remove(0);
    assert_eq!(event.text("sid"), Some(FIRST));
    assert_eq!(rig.collector.requests()[0].header("SP-Anonymous"), Some("*"));
}

#[test]
fn anonymity_is_switched_while_running_and_the_session_goes_on() {
    let rig = Rig::new();
    rig.start(FIRST);
    rig.exporter.set_anonymous(Anonymity::full());
    rig.named(FIRST);
    rig.exporter.set_anonymous(Anonymity::off());
    rig.named(FIRST);
    let events = rig.collector.wait_events(3);
    assert_eq!(events[1].text("sid"), None);
    let (before, after) = (&events[0], &events[2]);
    assert_eq!(before.text("sid"), after.text("sid"));
    let user = |event: &Event| event.entity("client_session").unwrap()["userId"].clone();
    assert_eq!(user(before), user(after));
}

#[test]
fn what_was_emitted_in_anonymity_stays_anonymous_if_it_is_flushed_before_that_ends() {
    let rig = Rig::new();
    let batches = SdkLoggerProvider::builder().with_batch_exporter(rig.exporter.clone()).build();
    let (logger, exporter) = (batches.logger("shop"), &rig.exporter);
    for anonymity in [Anonymity::full(), Anonymity::off(), Anonymity::full()] {
        batches.force_flush().unwrap();
        exporter.set_anonymous(anonymity);
        let mut record = logger.create_log_record();
        record.set_event_name("checkout");
        record.add_attribute("session.id", FIRST);
        logger.emit(record);
    }
    batches.force_flush().unwrap();
    let told: Vec<_> = rig.collector.wait_events(3).iter().map(|event| event.text("sid").is_some()).collect();
    assert_eq!(told, [false, true, false]);
}

#[test]
fn without_storage_anonymous_session_tracking_is_full_anonymity() {
    let rig = Rig::with(|builder| {
        builder.with_state_storage(StateStorage::None).with_anonymity(Anonymity::with_session_tracking())
    });
    rig.start(FIRST);
    rig.exporter.set_anonymous(Anonymity::with_session_tracking());
    rig.named(FIRST);
    for event in rig.collector.wait_events(2) {
        assert_eq!((event.text("sid"), event.entity("client_session")), (None, None));
    }
}

#[test]
fn an_opt_out_drops_everything_and_forgets_users_and_sessions() {
    let rig = Rig::new();
    rig.start(FIRST);
    rig.exporter.set_opt_out(true);
    rig.named(FIRST);
    rig.exporter.set_opt_out(false);
    rig.start(SECOND);
    let events = rig.collector.wait_events(2);
    rig.flush();
    assert_eq!(rig.collector.events().len(), 2);
    let [before, after] = [0, 1].map(|index| events[index].entity("client_session").unwrap());
    assert_ne!(before["userId"], after["userId"]);
    assert_eq!(after["sessionIndex"], 1);
}

#[test]
fn an_opt_out_forgets_even_if_no_record_came_meanwhile() {
    let rig = Rig::new();
    rig.start(FIRST);
    rig.exporter.set_opt_out(true);
    rig.exporter.set_opt_out(false);
    rig.start(SECOND);
    let users = rig.collector.wait_events(2).iter().map(|it| it.text("duid").unwrap().to_owned()).collect::<Vec<_>>();
    assert_ne!(users[0], users[1]);
}

#[test]
fn the_users_hook_and_a_file_opt_out() {
    let out = Arc::new(AtomicBool::new(false));
    let file = std::env::temp_dir().join(format!("b-opts-opt-out-{}", std::process::id()));
    let asked = out.clone();
    let rig = Rig::with(|builder| builder.with_opt_out(move || asked.load(Ordering::Acquire)).with_opt_out_file(&file));
    rig.start(FIRST);
    out.store(true, Ordering::Release);
    rig.named(FIRST);
    out.store(false, Ordering::Release);
    std::fs::write(&file, "").unwrap();
    rig.named(FIRST);
    std::fs::remove_file(&file).unwrap();
    rig.event("after", FIRST, &[]);
    rig.flush();
    let events = rig.collector.events();
    assert_eq!(events.len(), 2);
    assert!(events[1].own().1.to_string().contains("after"));
}

#[test]
fn a_record_on_its_way_while_its_user_is_forgotten_is_dropped_and_not_learned_again() {
    let out = Arc::new(AtomicBool::new(false));
    let (asked, opts_out) = (out.clone(), out.clone());
    let other: Arc<OnceLock<SdkLoggerProvider>> = Arc::default();
    let of_filter = Arc::clone(&other);
    let rig = Rig::with(|builder| {
        builder.with_opt_out(move || asked.load(Ordering::Acquire)).with_filter(move |_| {
            if !opts_out.swap(true, Ordering::AcqRel) {
                let loggers = of_filter.get().unwrap().clone();
                let emit = move || {
                    let logger = loggers.logger("other");
                    let mut record = logger.create_log_record();
                    record.set_event_name("other");
                    logger.emit(record);
                };
                std::thread::spawn(emit).join().unwrap();
            }
            true
        })
    });
    other.set(SdkLoggerProvider::builder().with_simple_exporter(rig.exporter.clone()).build()).unwrap();
    rig.start(FIRST);
    rig.flush();
    assert!(rig.collector.requests().is_empty());
}

#[test]
fn a_hook_that_panics_is_an_opt_out() {
    let rig = Rig::with(|builder| builder.with_opt_out(|| panic!("told to")));
    rig.start(FIRST);
    rig.flush();
    assert!(rig.collector.requests().is_empty());
}

#[test]
fn do_not_track_in_the_environment_drops_everything() {
    const NAME: &str = "privacy::do_not_track_in_the_environment_drops_everything";
    let out = match std::env::var("SNOWPLOW_TEST_OUT").as_deref() {
        Ok("yes") => true,
        Ok(_) => false,
        Err(_) => {
            alone(NAME, &[("DO_NOT_TRACK", "1"), ("SNOWPLOW_TEST_OUT", "yes")]);
            alone(NAME, &[("OTEL_SDK_DISABLED", "true"), ("SNOWPLOW_TEST_OUT", "yes")]);
            alone(NAME, &[("DO_NOT_TRACK", "0"), ("SNOWPLOW_TEST_OUT", "no")]);
            return;
        }
    };
    let respects = Rig::with(|builder| builder.with_do_not_track(true));
    respects.start(FIRST);
    respects.flush();
    assert_eq!(respects.collector.events().is_empty(), out);
    // Off by default, as in the tracker.
    let does_not = Rig::new();
    does_not.start(FIRST);
    assert_eq!(does_not.collector.wait_events(1).len(), 1);
}

#[cfg(feature = "sqlite")]
#[test]
fn do_not_track_in_the_environment_forgets_who_was_known_although_nothing_is_exported() {
    const NAME: &str = "privacy::do_not_track_in_the_environment_forgets_who_was_known_although_nothing_is_exported";
    if !alone(NAME, &[("DO_NOT_TRACK", "1")]) {
        return;
    }
    let path = std::env::temp_dir().join(format!("b-opts-forgets-{}.db", std::process::id()));
    let rig = |respects| {
        let outbox = otel_session::export::Outbox::sqlite(&path);
        Rig::with(|builder| builder.with_namespace("forgets").with_outbox(outbox).with_do_not_track(respects))
    };
    let first = rig(false);
    first.start(FIRST);
    first.flush();
    drop(first);
    assert!(rig(false).exporter.cross_domain_link().is_some(), "it outlives its exporter");
    drop(rig(true));
    assert_eq!(rig(false).exporter.cross_domain_link(), None);
    std::fs::remove_file(path).unwrap();
}

/// Runs a test of this program in a process of its own, with these variables; true in that process.
pub fn alone(test: &str, variables: &[(&str, &str)]) -> bool {
    const CHILD: &str = "SNOWPLOW_TEST_ALONE";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .env_remove("DO_NOT_TRACK")
        .env_remove("OTEL_SDK_DISABLED");
    let output = child.envs(variables.iter().copied()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
    false
}
