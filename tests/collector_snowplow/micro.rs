//! The REST interface of Snowplow Micro.

use otel_session::collector::DevCollector;
use serde_json::{Value as Json, json};

use crate::client::exchange;
use crate::story::{
    APPLICATION, CLIENT_SESSION, EID, SID, TP2, client_session, collector, contexts, envelope, get, get_json,
    page_view, post_to, request, send, text, unstruct, with,
};

fn post_json(collector: &DevCollector, path: &str, filter: &Json) -> Json {
    let reply = post_to(collector, path, "", &filter.to_string());
    assert_eq!(reply.status, 200, "{path}: {}", text(&reply));
    serde_json::from_slice(&reply.body).expect("Micro answers in JSON")
}

#[test]
fn b90_micro_counts_lists_and_resets() {
    let collector = collector();
    let counts = |total: usize, good: usize, bad: usize| json!({ "total": total, "good": good, "bad": bad });
    assert_eq!(get_json(&collector, "/micro/all"), counts(0, 0, 0));
    get(&collector, "/i?e=pp&p=web&tv=lol", "");
    assert_eq!(get_json(&collector, "/micro/all"), counts(1, 1, 0));
    get(&collector, "/i?e=pp&p=web&tv=lol&eid=invalidEventId", "");
    assert_eq!(get_json(&collector, "/micro/all"), counts(2, 1, 1));
    assert_eq!(post_json(&collector, "/micro/all", &json!({})), counts(2, 1, 1));
    for method in ["GET", "POST"] {
        let reply = request(&collector, method, "/micro/reset", "");
        assert_eq!((reply.status, text(&reply).as_str()), (200, "Reset completed"));
        assert_eq!(get_json(&collector, "/micro/all"), counts(0, 0, 0));
        assert_eq!((get_json(&collector, "/micro/good"), get_json(&collector, "/micro/bad")), (json!([]), json!([])));
        assert_eq!(collector.stream().snowplow_requests(), 0);
        get(&collector, "/i?e=pp&p=web&tv=lol", "");
    }
}

#[test]
fn b91_lists_are_filtered_newest_first() {
    let collector = collector();
    let session = contexts(&[(CLIENT_SESSION, client_session())]);
    let both = contexts(&[(CLIENT_SESSION, client_session()), (APPLICATION, json!({ "version": "1" }))]);
    let inner = unstruct(APPLICATION, &json!({ "version": "2" }));
    send(
        &collector,
        &[
            with(&[("aid", "1")]),
            with(&[("aid", "2"), ("co", &session)]),
            with(&[("aid", "3"), ("e", "se")]),
            with(&[("aid", "4"), ("e", "ue"), ("ue_pr", &inner), ("co", &both)]),
        ],
    );
    let apps = |filter: Json| {
        let rows = post_json(&collector, "/micro/good", &filter);
        let rows = rows.as_array().expect("a list").iter();
        rows.map(|row| row["event"]["app_id"].as_str().expect("an app").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(apps(json!({})), ["4", "3", "2", "1"]);
    assert_eq!(apps(json!({ "limit": 2 })), ["4", "3"]);
    assert_eq!(apps(json!({ "event_type": "page_view" })), ["2", "1"]);
    assert_eq!(apps(json!({ "event_type": "struct", "schema": null })), ["3"]);
    assert_eq!(apps(json!({ "schema": APPLICATION })), ["4"]);
    assert_eq!(apps(json!({ "contexts": [CLIENT_SESSION] })), ["4", "2"]);
    assert_eq!(apps(json!({ "contexts": [CLIENT_SESSION, APPLICATION] })), ["4"]);
    assert_eq!(apps(json!({ "contexts": [CLIENT_SESSION], "event_type": "page_view", "limit": 9 })), ["2"]);
    for wrong in [json!([]), json!({ "limit": "2" }), json!({ "contexts": [1] }), json!({ "schema": 1 })] {
        assert_eq!(post_to(&collector, "/micro/good", "", &wrong.to_string()).status, 400, "{wrong}");
    }
    post_to(&collector, TP2, "", "garbage");
    post_to(&collector, "/com.acme/v1", "", &envelope(&[page_view()]).to_string());
    let bad = |filter: Json| post_json(&collector, "/micro/bad", &filter).as_array().expect("a list").len();
    assert_eq!((bad(json!({})), bad(json!({ "limit": 1 }))), (2, 1));
    assert_eq!((bad(json!({ "vendor": "com.acme" })), bad(json!({ "version": "tp2" }))), (1, 1));
    assert_eq!(bad(json!({ "vendor": "com.acme", "version": "tp2" })), 0);
}

#[test]
fn b92_a_bad_event_id_is_counted_bad_and_its_siblings_stay_good() {
    let collector = collector();
    send(&collector, &[with(&[("aid", "a")]), with(&[("eid", "1234")]), with(&[("aid", "b")])]);
    assert_eq!(get_json(&collector, "/micro/all"), json!({ "total": 3, "good": 2, "bad": 1 }));
    let row = &get_json(&collector, "/micro/bad")[0];
    assert_eq!(row["rawEvent"]["parameters"]["eid"], "1234");
    assert_eq!(row["collectorPayload"]["api"], json!({ "vendor": "com.snowplowanalytics.snowplow", "version": "tp2" }));
    assert!(row["errors"][0].as_str().is_some_and(|error| error.contains("eid = \"1234\": not a valid UUID")), "{row}");
}

#[test]
fn a_good_row_has_the_raw_event_and_the_canonical_one() {
    let collector = collector();
    let session = contexts(&[(CLIENT_SESSION, client_session())]);
    let event = with(&[
        ("eid", EID),
        ("aid", "shop"),
        ("sid", &SID.to_uppercase()),
        ("vid", "2"),
        ("dtm", "1795164538129"),
        ("stm", "1795164538229"),
        ("ttm", "1795164538000"),
        ("res", "1920x1080"),
        ("uid", "tab\there"),
        ("co", &session),
        ("url", "https://shop.test:8443/a/b?utm_source=mail&x=1&_sp=duid.1795164538129#top"),
        ("cookie", "1"),
    ]);
    post_to(
        &collector,
        TP2,
        "User-Agent: test/1\r\nReferer: http://ref.test/\r\n",
        &envelope(std::slice::from_ref(&event)).to_string(),
    );
    let row = &get_json(&collector, "/micro/good")[0];
    let keys: Vec<_> = row.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["rawEvent", "eventType", "schema", "contexts", "event", "incomplete"]);
    let raw = &row["rawEvent"];
    assert_eq!(raw["parameters"], event);
    assert_eq!(raw["contentType"], "application/json; charset=utf-8");
    assert_eq!((&raw["source"]["encoding"], &raw["source"]["hostname"]), (&json!("UTF-8"), &json!("test")));
    assert_eq!(
        (&raw["context"]["useragent"], &raw["context"]["refererUri"]),
        (&json!("test/1"), &json!("http://ref.test/"))
    );
    assert!(raw["context"]["headers"].as_array().is_some_and(|it| it.contains(&json!("user-agent: test/1"))), "{raw}");
    assert_eq!(row["eventType"], "page_view");
    assert_eq!(row["schema"], "iglu:com.snowplowanalytics.snowplow/page_view/jsonschema/1-0-0");
    assert_eq!((&row["contexts"], &row["incomplete"]), (&json!([CLIENT_SESSION]), &json!(false)));
    let canonical = row["event"].as_object().expect("an object");
    assert_eq!(canonical.len(), 131);
    for (column, value) in [
        ("event_id", json!(EID)),
        ("app_id", json!("shop")),
        ("platform", json!("web")),
        ("event", json!("page_view")),
        ("event_name", json!("page_view")),
        ("v_tracker", json!("test")),
        ("domain_sessionid", json!(SID)),
        ("domain_sessionidx", json!(2)),
        ("dvce_created_tstamp", json!("2026-11-20T08:48:58.129Z")),
        ("true_tstamp", json!("2026-11-20T08:48:58.000Z")),
        ("derived_tstamp", json!("2026-11-20T08:48:58.000Z")),
        ("dvce_screenwidth", json!(1920)),
        ("dvce_screenheight", json!(1080)),
        ("user_id", json!("tab    here")),
        ("useragent", json!("test/1")),
        ("page_urlhost", json!("shop.test")),
        ("page_urlport", json!(8443)),
        ("page_urlpath", json!("/a/b")),
        ("page_urlfragment", json!("top")),
        ("mkt_source", json!("mail")),
        ("refr_domain_userid", json!("duid")),
        ("refr_dvce_tstamp", json!("2026-11-20T08:48:58.129Z")),
        ("br_cookies", json!(true)),
        ("geo_country", Json::Null),
        ("unstruct_event", Json::Null),
    ] {
        assert_eq!(canonical[column], value, "{column}");
    }
    assert_eq!(canonical["contexts"]["data"][0], json!({ "schema": CLIENT_SESSION, "data": client_session() }));
}

#[test]
fn a_bad_envelope_is_one_row_without_an_event() {
    let collector = collector();
    post_to(&collector, TP2, "", &envelope(&[page_view(), with(&[("unknown", "key")]), page_view()]).to_string());
    assert_eq!(get_json(&collector, "/micro/all"), json!({ "total": 1, "good": 0, "bad": 1 }));
    let row = &get_json(&collector, "/micro/bad")[0];
    assert!(row["rawEvent"].is_null() && row["collectorPayload"]["api"]["version"] == "tp2", "{row}");
}

#[test]
fn schemas_are_served_and_other_paths_are_named() {
    let collector = collector();
    let schema = get_json(&collector, "/micro/iglu/com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2");
    assert_eq!(schema["self"]["name"], "client_session");
    for path in ["com.acme/nothing/jsonschema/1-0-0", "../../etc/passwd", "a/b/c/d", ""] {
        let reply = get(&collector, &format!("/micro/iglu/{path}"), "");
        assert!(reply.status == 404 && text(&reply).contains("ResolutionError"), "{path}: {}", text(&reply));
    }
    for (method, path) in [("GET", "/micro"), ("GET", "/micro/other"), ("DELETE", "/micro/all"), ("PUT", "/micro/good")]
    {
        let reply = request(&collector, method, path, "");
        assert_eq!(reply.status, 404, "{method} {path}");
        for known in ["/micro/all", "/micro/good", "/micro/bad", "/micro/reset", "/micro/iglu"] {
            assert!(text(&reply).contains(known), "{}", text(&reply));
        }
    }
}

#[test]
fn the_host_of_a_row_stands_without_its_port() {
    let collector = collector();
    for (host, name) in [("collector.test:80", "collector.test"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")] {
        let head = format!("GET /i?e=pv&p=web&tv=t HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        exchange(&collector.snowplow_endpoint(), head.as_bytes());
        assert_eq!(get_json(&collector, "/micro/good")[0]["rawEvent"]["source"]["hostname"], name);
    }
}

#[test]
fn the_latest_bad_row_stands_first_and_an_empty_filter_takes_everything() {
    let collector = collector();
    for path in ["/a/v1", "/b/v1"] {
        post_to(&collector, path, "", "{}");
    }
    for filter in ["", "{}", r#"{ "limit": null, "vendor": null }"#] {
        let reply = post_to(&collector, "/micro/bad", "", filter);
        let rows: Json = serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{}", text(&reply)));
        let vendor = |row: usize| &rows[row]["collectorPayload"]["api"]["vendor"];
        assert_eq!((vendor(0), vendor(1)), (&json!("b"), &json!("a")), "{filter}");
    }
}
