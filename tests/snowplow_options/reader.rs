//! The options of other trackers, read from JSON and seen on the wire.

use std::time::{Duration, SystemTime};

use opentelemetry_sdk::logs::{SdkLoggerProvider, SimpleLogProcessor};
use otel_session::export::snowplow::{Verdict, javascript_options, python_options};
use otel_session::testing::ManualClock;
use otel_session::{Sessions, SnowplowExporterBuilder};

use crate::recorder::Recorder;
use crate::rig::{FIRST, Rig};

/// The JavaScript document's sample of every option, but for the values that are refused: `contexts.webPage` and code.
const JAVASCRIPT: &str = r#"{
    "appId": "my-app-id", "platform": "web", "cookieDomain": null, "discoverRootDomain": true, "cookieName": "_sp_",
    "cookieSameSite": "Lax", "cookieSecure": true, "encodeBase64": true, "respectDoNotTrack": false,
    "eventMethod": "post", "bufferSize": 1, "maxPostBytes": 40000, "maxGetBytes": 1000, "postPath": "/custom/path",
    "crossDomainLinker": null, "cookieLifetime": 63072000, "stateStorageStrategy": "cookieAndLocalStorage",
    "maxLocalStorageQueueSize": 1000, "resetActivityTrackingOnPageView": true, "connectionTimeout": 5000,
    "anonymousTracking": false, "contexts": {"webPage": false, "session": true, "browser": false},
    "retryStatusCodes": [], "dontRetryStatusCodes": [], "onSessionUpdateCallback": null
}"#;

/// The Python document's samples in one.
const PYTHON: &str = r#"{
    "namespace": "NAMESPACE", "endpoint": "ENDPOINT", "method": "post", "app_id": "aid",
    "subject": {"platform": "srv", "user_id": "ada", "screen_resolution": [1920, 1080], "vp": "800x600"},
    "tracker_config": {"encode_base64": false, "json_encoder": null},
    "emitter_config": {
        "batch_size": 2, "on_success": null, "on_failure": null, "byte_limit": 25000, "request_timeout": [10, 20],
        "custom_retry_codes": {"500": false, "401": true}, "event_store": null, "session": null
    }
}"#;

#[track_caller]
fn javascript(options: &str) -> Result<Vec<&'static str>, String> {
    let read = SnowplowExporterBuilder::from_js_options("sp", "http://127.0.0.1:9", options);
    read.map(|(_, notes)| notes.iter().map(|note| note.option).collect()).map_err(|error| error.to_string())
}

fn python(arguments: &str) -> Result<(), String> {
    SnowplowExporterBuilder::from_python_options(arguments).map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn a_javascript_configuration_makes_an_exporter_that_does_what_it_says() {
    let collector = Recorder::start();
    let (builder, notes) = SnowplowExporterBuilder::from_js_options("reader-js", &collector.url(), JAVASCRIPT).unwrap();
    let told: Vec<_> = notes.iter().filter(|it| it.verdict == Verdict::NoEffect).map(|it| it.option).collect();
    for option in
        ["cookieDomain", "discoverRootDomain", "cookieSameSite", "cookieSecure", "resetActivityTrackingOnPageView"]
    {
        assert!(told.contains(&option), "{option}: {told:?}");
    }
    assert!(notes.iter().all(|it| it.verdict != Verdict::Adopted && !it.note.is_empty()), "{notes:?}");
    let rig = Rig::around(collector, builder.build().unwrap());
    rig.start(FIRST);
    let request = rig.collector.wait_requests(1).remove(0);
    assert_eq!(request.path, "/custom/path");
    let event = request.events().remove(0);
    assert_eq!(
        (event.text("tna"), event.text("aid"), event.text("p")),
        (Some("reader-js"), Some("my-app-id"), Some("web"))
    );
    assert!(event.text("ue_px").is_some());
    assert!(event.entity("client_session").is_some());
}

#[test]
fn python_arguments_make_an_exporter_that_does_what_they_say() {
    let collector = Recorder::answering(|number, _| Some((if number == 0 { 401 } else { 200 }, Vec::new())));
    let arguments = PYTHON.replace("NAMESPACE", "reader-python").replace("ENDPOINT", &collector.url());
    let (builder, _) = SnowplowExporterBuilder::from_python_options(&arguments).unwrap();
    let rig = Rig::around(collector, builder.build().unwrap());
    rig.start(FIRST);
    assert_eq!(rig.exporter.pending(), 1);
    rig.named(FIRST);
    // 401 is retried, as the map says.
    rig.collector.wait_requests(2);
    let event = rig.collector.events().remove(0);
    for (key, value) in
        [("tna", "reader-python"), ("aid", "aid"), ("p", "srv"), ("res", "1920x1080"), ("vp", "800x600")]
    {
        assert_eq!(event.text(key), Some(value), "{key}");
    }
    assert!(event.text("ue_pr").is_some());
}

#[test]
fn one_emitter_or_a_list_of_them_are_collectors() {
    let (first, second) = (Recorder::start(), Recorder::start());
    let arguments = format!(
        r#"{{"namespace": "reader-emitters", "emitters": [
            {{"endpoint": "{}", "batch_size": 1}},
            {{"endpoint": "127.0.0.1", "protocol": "http", "port": {}, "method": "get", "batch_size": 1}}
        ]}}"#,
        first.url(),
        second.port()
    );
    let (builder, _) = SnowplowExporterBuilder::from_python_options(&arguments).unwrap();
    let rig = Rig::around(first, builder.build().unwrap());
    rig.start(FIRST);
    assert_eq!(rig.collector.wait_requests(1)[0].method, "POST");
    assert_eq!(second.wait_requests(1)[0].method, "GET");
    let one = format!(r#"{{"namespace": "reader-emitter", "emitter": {{"endpoint": "{}"}}}}"#, second.url());
    assert!(SnowplowExporterBuilder::from_python_options(&one).unwrap().0.build().is_ok());
}

#[test]
fn what_is_of_the_exporter_is_the_same_for_all_emitters_or_refused() {
    let with = |first: &str, second: &str| {
        let arguments = format!(
            r#"{{"namespace": "t", "emitters": [{{"endpoint": "http://a"{first}}}, {{"endpoint": "http://b"{second}}}]}}"#
        );
        SnowplowExporterBuilder::from_python_options(&arguments)
    };
    for (key, one, another) in [
        ("batch_size", "5", "7"),
        ("byte_limit", "1000", "2000"),
        ("buffer_capacity", "100", "200"),
        ("request_timeout", "1", "[1, 2]"),
        ("max_retry_delay_seconds", "1", "2"),
        ("custom_retry_codes", r#"{"500": false}"#, r#"{"500": true}"#),
    ] {
        let [first, second] = [one, another].map(|value| format!(r#", "{key}": {value}"#));
        for (first, second) in [(&first[..], &second[..]), (&first, ""), ("", &second)] {
            let error = with(first, second).unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")) && error.contains("an exporter for each"), "{error}");
        }
        assert!(with(&first, &first).is_ok(), "{key}");
    }
    // What is of a collector may differ, and null is the same as left out.
    assert!(with(r#", "method": "get", "batch_size": null"#, r#", "port": 81"#).is_ok());
    let unknown = with(r#", "batchsize": 5"#, "").unwrap_err().to_string();
    assert!(unknown.contains("`emitter_config.batch_size`"), "{unknown}");
}

#[test]
fn a_configuration_beside_emitters_is_what_they_do_not_say_themselves() {
    let with = |arguments: &str| {
        let arguments = format!(r#"{{"namespace": "t", "emitter_config": {{"batch_size": 5}}, {arguments}}}"#);
        let read = SnowplowExporterBuilder::from_python_options(&arguments);
        read.map(|(builder, _)| format!("{builder:?}")).map_err(|error| error.to_string())
    };
    let emitters = r#""emitters": ["http://a", {"endpoint": "http://b", "batch_size": 5}]"#;
    assert!(with(emitters).unwrap().contains("batch_size: 5"));
    assert!(with(r#""emitter": {"endpoint": "http://b", "batch_size": 7}"#).unwrap().contains("batch_size: 7"));
    // The endpoint is an emitter of its own, and so is each of the two lists'.
    for arguments in [
        r#""endpoint": "http://a", "emitter": {"endpoint": "http://b", "batch_size": 7}"#,
        r#""emitter": "http://a", "emitters": [{"endpoint": "http://b", "batch_size": 7}]"#,
    ] {
        let error = with(arguments).unwrap_err();
        assert!(error.contains("5 and 7"), "{error}");
    }
}

#[test]
fn notes_of_emitters_are_told_once_each() {
    let notes = |arguments: &str| {
        let arguments = format!(r#"{{"namespace": "t", {arguments}}}"#);
        let (_, notes) = SnowplowExporterBuilder::from_python_options(&arguments).unwrap();
        notes.iter().map(|it| (it.option, it.verdict)).collect::<Vec<_>>()
    };
    let one = r#"{"endpoint": "http://a", "byte_limit": 1000}"#;
    let note = [("emitter_config.byte_limit", Verdict::Adapted)];
    assert_eq!(notes(&format!(r#""emitter": {one}"#)), note);
    assert_eq!(notes(&format!(r#""emitters": [{one}, {one}]"#)), note);
    assert_eq!(notes(&format!(r#""emitter_config": {{"byte_limit": 1000}}, "emitter": {one}"#)), note);
}

#[test]
fn python_emitters_that_get_send_each_event_at_once() {
    let get = |url: &str| format!(r#"{{"endpoint": "{url}", "method": "GET"}}"#);
    let read = |arguments: &str| {
        SnowplowExporterBuilder::from_python_options(&format!(r#"{{"namespace": "reader-get", {arguments}}}"#)).unwrap()
    };
    let sizes = |arguments: &str| {
        let (builder, notes) = read(arguments);
        let size = format!("{builder:?}").split("batch_size: ").nth(1).unwrap().split(',').next().unwrap().to_owned();
        (size, notes.iter().map(|it| it.option).collect::<Vec<_>>())
    };
    let alone = |size: &str| (size.to_owned(), vec![]);
    let (a, b) = (get("http://a"), get("http://b"));
    assert_eq!(sizes(&format!(r#""emitters": [{a}, {b}]"#)), alone("1"));
    assert_eq!(sizes(r#""endpoint": "http://a", "method": "get""#), alone("1"));
    assert_eq!(sizes(r#""method": "get""#), alone("1"));
    assert_eq!(sizes(r#""endpoint": "http://a", "method": "get", "emitter_config": {"batch_size": 3}"#), alone("3"));
    assert_eq!(sizes(r#""endpoint": "http://a""#), alone("10"));
    assert_eq!(sizes(r#""emitters": ["http://a", "http://b"]"#), alone("10"));
    let mixed = sizes(&format!(r#""emitters": ["http://a", {b}]"#));
    assert_eq!(mixed, ("10".to_owned(), vec!["emitter_config.batch_size"]));

    let collector = Recorder::start();
    let (builder, _) = read(&format!(r#""emitter": {}"#, get(&collector.url())));
    let rig = Rig::around(collector, builder.with_schedule_delay(crate::requests::HOUR).build().unwrap());
    rig.start(FIRST);
    assert_eq!(rig.collector.wait_requests(1)[0].method, "GET");
}

#[test]
fn the_forms_of_anonymous_tracking_are_read() {
    for (value, sid, user, header) in [
        ("true", false, false, false),
        ("{}", false, false, false),
        (r#"{"withSessionTracking": true}"#, true, false, false),
        (r#"{"withServerAnonymisation": true}"#, false, false, true),
        (r#"{"withSessionTracking": true, "withServerAnonymisation": true}"#, true, false, true),
        ("false", true, true, false),
    ] {
        let collector = Recorder::start();
        let options = format!(r#"{{"anonymousTracking": {value}}}"#);
        let (builder, _) =
            SnowplowExporterBuilder::from_js_options("reader-anonymous", &collector.url(), &options).unwrap();
        let rig = Rig::around(collector, builder.build().unwrap());
        rig.start(FIRST);
        let request = rig.collector.wait_requests(1).remove(0);
        let event = request.events().remove(0);
        assert_eq!(event.text("sid").is_some(), sid, "{value}");
        assert_eq!(event.text("duid").is_some(), user, "{value}");
        assert_eq!(request.header("SP-Anonymous").is_some(), header, "{value}");
    }
}

#[test]
fn each_state_storage_strategy_has_its_own_meaning() {
    for (strategy, mechanism) in [
        ("cookieAndLocalStorage", "LOCAL_STORAGE"),
        ("localStorage", "LOCAL_STORAGE"),
        ("cookie", "COOKIE_1"),
        ("none", "LOCAL_STORAGE"),
    ] {
        let collector = Recorder::start();
        // Without storage a browser sends each event at once; here the batch size stays what it is.
        let options = format!(r#"{{"stateStorageStrategy": "{strategy}", "bufferSize": 2}}"#);
        let (builder, _) =
            SnowplowExporterBuilder::from_js_options("reader-storage", &collector.url(), &options).unwrap();
        let rig = Rig::around(collector, builder.with_schedule_delay(crate::requests::HOUR).build().unwrap());
        rig.start(FIRST);
        assert_eq!(rig.exporter.pending(), 1, "{strategy}");
        rig.named(FIRST);
        let event = rig.collector.wait_events(2).remove(0);
        assert_eq!(event.entity("client_session").unwrap()["storageMechanism"], mechanism, "{strategy}");
    }
    assert!(javascript(r#"{"stateStorageStrategy": "flash"}"#).unwrap_err().contains("`localStorage`"));
}

#[test]
fn every_value_of_cookie_same_site_is_accepted_and_has_no_effect() {
    for value in ["\"None\"", "\"Lax\"", "\"Strict\"", "null"] {
        assert_eq!(javascript(&format!(r#"{{"cookieSameSite": {value}}}"#)), Ok(vec!["cookieSameSite"]));
    }
    assert!(javascript(r#"{"cookieSameSite": "Loose"}"#).is_err());
}

#[test]
fn cookie_lifetimes_are_read_with_their_special_values() {
    for value in ["63072000", "0", "-1"] {
        assert_eq!(javascript(&format!(r#"{{"cookieLifetime": {value}}}"#)), Ok(vec!["cookieLifetime"]));
    }
    assert!(javascript(r#"{"cookieLifetime": -2}"#).is_err());
    assert!(javascript(r#"{"cookieLifetime": "a week"}"#).is_err());
}

#[test]
fn what_has_no_meaning_here_is_refused_with_what_to_use_instead() {
    for (options, says) in [
        (r#"{"contexts": {"webPage": true}}"#, "with_mapping"),
        (r#"{"eventMethod": "beacon"}"#, "`post`"),
        (r#"{"getCookieName": "id"}"#, "IdCookie"),
        (r#"{"crossDomainLinker": true}"#, "links you choose"),
        (r#"{"onSessionUpdateCallback": "f"}"#, "on_session_end"),
        (r#"{"plugins": [{}]}"#, "with_filter"),
    ] {
        let error = javascript(options).unwrap_err();
        assert!(error.contains(says), "{options}: {error}");
    }
    assert!(python(r#"{"tracker_config": {"json_encoder": "f"}}"#).unwrap_err().contains("with_mapping"));
}

#[test]
fn an_unknown_option_is_an_error_that_names_the_nearest() {
    for (options, nearest) in [
        (r#"{"appID": "x"}"#, "`appId`"),
        (r#"{"bufferSizes": 1}"#, "`bufferSize`"),
        (r#"{"contexts": {"sesion": true}}"#, "`contexts.session`"),
        (r#"{"anonymousTracking": {"withSesionTracking": true}}"#, "withSessionTracking"),
    ] {
        let error = javascript(options).unwrap_err();
        assert!(error.contains(nearest), "{options}: {error}");
    }
    assert!(python(r#"{"emitter_config": {"batchsize": 1}}"#).unwrap_err().contains("`emitter_config.batch_size`"));
    assert!(python(r#"{"name_space": "a"}"#).unwrap_err().contains("`namespace`"));
}

#[test]
fn values_of_the_wrong_kind_are_refused_and_secrets_not_shown() {
    for options in [
        r#"{"appId": 7}"#,
        r#"{"platform": "browser"}"#,
        r#"{"bufferSize": -1}"#,
        r#"{"bufferSize": "1"}"#,
        r#"{"maxPostBytes": 1.5}"#,
        r#"{"maxGetBytes": 20468}"#,
        r#"{"connectionTimeout": null}"#,
        r#"{"encodeBase64": "yes"}"#,
        r#"{"contexts": true}"#,
        r#"{"retryStatusCodes": 500}"#,
        r#"{"retryStatusCodes": [70000]}"#,
        r#"{"anonymousTracking": "yes"}"#,
        r#"{"anonymousTracking": {"withServerAnonymisation": 1}}"#,
        "[]",
        "{",
        "",
    ] {
        assert!(javascript(options).is_err(), "{options}");
    }
    let error = javascript(r#"{"customHeaders": {"Authorization": "s3cret", "X": 7}}"#).unwrap_err();
    assert!(!error.contains("s3cret"), "{error}");
    let error = javascript(r#"{"customHeaders": {"Authorization": "s3cret"},}"#).unwrap_err();
    assert!(!error.contains("s3cret") && error.contains("column"), "{error}");
    for emitters in [r#"[{"endpoint": "http://ada:s3cret@host", "port": 0}]"#, r#"["http://ada:s3cret@host", 5]"#] {
        let error = python(&format!(r#"{{"emitters": {emitters}}}"#)).unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }
    for arguments in [
        r#"{"emitters": []}"#,
        r#"{"emitters": [{"port": 1}]}"#,
        r#"{"emitters": [{"endpoint": "a", "port": 70000}]}"#,
        r#"{"emitters": [{"endpoint": "a", "protocol": "ftp"}]}"#,
        r#"{"emitter_config": {"custom_retry_codes": {"x": true}}}"#,
        r#"{"emitter_config": {"request_timeout": [1, 2, 3]}}"#,
        r#"{"emitter_config": {"request_timeout": -1}}"#,
        r#"{"subject": {"shoe_size": 43}}"#,
        r#"{"subject": {"res": "big"}}"#,
        r#"{"method": "put"}"#,
    ] {
        assert!(python(arguments).is_err(), "{arguments}");
    }
}

#[test]
fn options_without_effect_are_accepted_and_change_nothing() {
    let options: serde_json::Map<_, _> = javascript_options()
        .iter()
        .filter(|it| it.verdict == Verdict::NoEffect && it.name != "cookieSameSite")
        .map(|it| (it.name.to_owned(), serde_json::Value::from(true)))
        .collect();
    assert!(options.len() >= 8, "{options:?}");
    let read = SnowplowExporterBuilder::from_js_options(
        "sp",
        "http://127.0.0.1:9",
        &serde_json::Value::from(options.clone()).to_string(),
    );
    let (builder, notes) = read.unwrap();
    assert_eq!(notes.len(), options.len());
    let (plain, _) = SnowplowExporterBuilder::from_js_options("sp", "http://127.0.0.1:9", "{}").unwrap();
    assert_eq!(format!("{builder:?}"), format!("{plain:?}"));
}

#[test]
fn the_timeout_of_sessions_is_that_of_the_sessions() {
    let (_, notes) =
        SnowplowExporterBuilder::from_js_options("sp", "http://127.0.0.1:9", r#"{"sessionCookieTimeout": 3600}"#)
            .unwrap();
    assert_eq!((notes[0].option, notes[0].verdict), ("sessionCookieTimeout", Verdict::Adapted));
    let setting = javascript_options().iter().find(|it| it.name == "sessionCookieTimeout").unwrap().setting;
    assert_eq!(setting, "SessionsBuilder::with_inactivity_timeout");
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000));
    let sessions = Sessions::builder()
        .with_inactivity_timeout(Duration::from_secs(3600))
        .with_clock(clock.clone())
        .build()
        .unwrap();
    let collector = Recorder::start();
    let exporter = otel_session::SnowplowExporter::builder().with_endpoint(collector.url()).build().unwrap();
    let processor = sessions.log_processor(SimpleLogProcessor::new(exporter.clone()));
    let loggers = SdkLoggerProvider::builder().with_log_processor(processor).build();
    let first = sessions.record_activity();
    assert!(clock.advance(Duration::from_secs(3599)));
    assert_eq!(sessions.record_activity().id(), first.id());
    assert!(clock.advance(Duration::from_secs(3600)));
    // And a new session by hand, as `newSession` makes one.
    sessions.record_activity();
    sessions.rotate();
    assert!(clock.advance(Duration::ZERO));
    let events = collector.wait_events(5);
    let told: Vec<_> = events.iter().map(|it| it.own().0.split('/').nth(1).unwrap().to_owned()).collect();
    assert_eq!(told, ["session_start", "session_end", "session_start", "session_end", "session_start"]);
    let index = |event: &crate::recorder::Event| event.text("vid").unwrap().to_owned();
    assert_eq!(events.iter().map(index).collect::<Vec<_>>(), ["1", "1", "2", "2", "3"]);
    drop(loggers);
}

#[test]
fn python_timeouts_are_one_number_or_two() {
    let with = |timeout: &str| {
        let arguments = format!(
            r#"{{"namespace": "t", "endpoint": "http://h", "emitter_config": {{"request_timeout": {timeout}}}}}"#
        );
        format!("{:?}", SnowplowExporterBuilder::from_python_options(&arguments).unwrap().0)
    };
    assert!(with("7.5").contains("connect_timeout: 7.5s, request_timeout: 7.5s"));
    assert!(with("[1, 20]").contains("connect_timeout: 1s, request_timeout: 20s"));
    assert!(with("null").contains("connect_timeout: 5s, request_timeout: 10s"));
}

#[test]
fn the_defaults_of_pythons_document_change_nothing_when_they_are_written_out() {
    python(
        r#"{"namespace": "reader-defaults", "endpoint": "http://127.0.0.1:1", "method": "post", "app_id": null,
            "subject": null, "tracker_config": {"encode_base64": true, "json_encoder": null},
            "emitter_config": {"batch_size": 10, "on_success": null, "on_failure": null, "byte_limit": null,
                "request_timeout": null, "custom_retry_codes": null, "event_store": null, "session": null}}"#,
    )
    .unwrap();
}

#[test]
fn every_option_has_a_verdict_and_a_name_of_its_own() {
    for table in [javascript_options(), python_options()] {
        let mut names: Vec<_> = table.iter().map(|it| it.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), table.len());
        for option in table {
            let has_a_setting =
                !option.setting.is_empty() || option.name.contains("contexts") || option.name.ends_with("_config");
            assert!(has_a_setting || matches!(option.verdict, Verdict::NoEffect | Verdict::Refused), "{option:?}");
        }
    }
}
