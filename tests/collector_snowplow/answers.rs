//! What a tracker hears, and what of it the collector keeps.

use std::time::{Duration, SystemTime};

use otel_session::collector::DevCollector;
use otel_session::testing::ManualClock;

use crate::story::{NIL, TP2, collector, counts, envelope, get, get_json, page_view, post_to, request, send, text};

#[test]
fn b75_post_is_answered_200_ok() {
    let collector = collector();
    let reply = send(&collector, &[page_view()]);
    assert_eq!((reply.status, text(&reply).as_str()), (200, "ok"));
    assert!(reply.head.contains("content-type: text/plain"), "{}", reply.head);
    let garbage = post_to(&collector, TP2, "", "{{{");
    assert_eq!((garbage.status, text(&garbage).as_str()), (200, "ok"), "the answer comes before the validation");
    let elsewhere = post_to(&collector, "/com.acme/v1", "", "");
    assert_eq!((elsewhere.status, text(&elsewhere).as_str()), (200, "ok"));
    assert_eq!((counts(&collector), collector.stream().snowplow_requests()), ((1, 2), 3));
}

#[test]
fn b76_get_is_answered_with_a_pixel_that_is_not_cached() {
    let collector = collector();
    for target in ["/i?e=pv&p=web&tv=t", "/ice.png?e=pv&p=web&tv=t", &format!("{TP2}?e=pv&p=web&tv=t")] {
        let reply = get(&collector, target, "");
        assert_eq!((reply.status, reply.body.len()), (200, 43), "{target}");
        assert_eq!(&reply.body[..6], b"GIF89a");
        assert!(reply.head.contains("content-type: image/gif"), "{}", reply.head);
        assert!(reply.head.contains("cache-control: no-cache, no-store, must-revalidate"), "{}", reply.head);
        let cookie = reply.head.lines().find(|line| line.starts_with("set-cookie: sp=")).expect("a cookie");
        assert!(
            cookie.ends_with("; path=/; samesite=none; secure; httponly") && cookie.contains("; expires="),
            "{cookie}"
        );
    }
    assert_eq!(counts(&collector), (3, 0));
}

#[test]
fn every_tracker_is_given_the_cookie_for_a_year() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let collector = DevCollector::builder().with_clock(clock).build().expect("a collector");
    for reply in [get(&collector, "/i?e=pv&p=web&tv=t", "Cookie: sp=known\r\n"), send(&collector, &[page_view()])] {
        let year = "; expires=wed, 13 nov 2024 22:13:20 gmt; path=/; samesite=none; secure; httponly";
        let cookie = reply.head.lines().find(|line| line.starts_with("set-cookie: sp=")).expect("a cookie");
        assert!(cookie.ends_with(year), "{cookie}");
    }
}

#[test]
fn b77_head_is_answered_like_get_without_a_body_and_counts() {
    let collector = collector();
    let reply = request(&collector, "HEAD", "/i?e=pv&p=web&tv=t", "");
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert!(reply.head.contains("content-type: image/gif"), "{}", reply.head);
    assert_eq!(counts(&collector), (1, 0));
}

#[test]
fn b78_answers_name_the_origin_that_asked_or_any() {
    let collector = collector();
    for (headers, origin) in [("Origin: http://shop.test\r\n", "http://shop.test"), ("", "*")] {
        let replies = [
            get(&collector, "/i?e=pv&p=web&tv=t", headers),
            post_to(&collector, TP2, headers, &envelope(&[page_view()]).to_string()),
            get(&collector, "/micro/all", headers),
            get(&collector, "/health", headers),
            get(&collector, "/r/tp2?u=http://shop.test", headers),
            get(&collector, &format!("/i?{}", "x".repeat(21_000)), headers),
        ];
        for reply in replies {
            assert!(reply.head.contains(&format!("access-control-allow-origin: {origin}\r\n")), "{}", reply.head);
            assert!(reply.head.contains("access-control-allow-credentials: true"), "{}", reply.head);
        }
    }
}

#[test]
fn b79_a_preflight_allows_the_headers_of_trackers_for_an_hour() {
    let collector = collector();
    let reply = request(&collector, "OPTIONS", TP2, "Origin: http://shop.test\r\n");
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    for header in [
        "access-control-allow-origin: http://shop.test",
        "access-control-allow-headers: content-type, sp-anonymous",
        "access-control-allow-credentials: true",
        "access-control-max-age: 3600",
    ] {
        assert!(reply.head.contains(header), "{header} is not in {}", reply.head);
    }
    assert_eq!(collector.stream().snowplow_requests(), 0);
}

#[test]
fn b80_an_anonymous_request_that_sends_the_cookie_has_it_expired() {
    let collector = collector();
    let reply = get(&collector, "/i?e=pv&p=web&tv=t", "SP-Anonymous: *\r\nCookie: a=b; sp=known\r\n");
    let expired = format!("set-cookie: sp={NIL}; expires=thu, 01 jan 1970 00:00:00 gmt");
    assert!(reply.head.contains(&expired), "{}", reply.head);
}

#[test]
fn b81_an_anonymous_request_without_the_cookie_is_given_none() {
    let collector = collector();
    let anonymous = get(&collector, "/i?e=pv&p=web&tv=t", "SP-Anonymous: *\r\n");
    assert!(!anonymous.head.contains("set-cookie"), "{}", anonymous.head);
    let named = get(&collector, "/i?e=pv&p=web&tv=t", "");
    assert!(named.head.contains("set-cookie"), "{}", named.head);
}

#[test]
fn b82_an_anonymous_request_has_no_address_and_the_nil_user() {
    let collector = collector();
    get(&collector, "/i?e=pv&p=web&tv=t&nuid=known", "SP-Anonymous: *\r\nX-Forwarded-For: 203.0.113.7\r\n");
    get(&collector, "/i?e=pv&p=web&tv=t", "SP-Anonymous: *\r\nCookie: sp=known\r\n");
    let stream = collector.stream();
    let [first, second] = stream.snowplow_good() else { panic!("two events") };
    assert!(first.is_anonymous() && second.is_anonymous());
    assert_eq!(second.network_user_id(), NIL);
    assert_eq!(first.network_user_id(), "known", "a parameter of the event counts more than what the collector makes");
    assert!(
        stream.snowplow_good().iter().all(|event| event.column("user_ipaddress").is_some_and(|ip| ip == "unknown"))
    );
    let rows = get_json(&collector, "/micro/good");
    assert_eq!(rows[0]["rawEvent"]["context"]["ipAddress"], "unknown");
    assert_eq!(rows[0]["rawEvent"]["context"]["userId"], NIL);
}

#[test]
fn b83_headers_that_tell_who_sent_an_anonymous_request_are_not_kept() {
    const TELLING: &str =
        "X-Forwarded-For: 203.0.113.7\r\nX-Real-Ip: 203.0.113.8\r\nCookie: sp=known\r\nX-Other: kept\r\n";
    let collector = collector();
    get(&collector, "/i?e=pv&p=web&tv=t", &format!("SP-Anonymous: *\r\n{TELLING}"));
    get(&collector, "/i?e=pv&p=web&tv=t", TELLING);
    let stream = collector.stream();
    let told = |index: usize| {
        let headers = stream.snowplow_good()[index].headers().join("\n");
        ["x-forwarded-for:", "x-real-ip:", "cookie:"].map(|name| headers.contains(name))
    };
    assert_eq!((told(0), told(1)), ([false; 3], [true; 3]));
    assert!(stream.snowplow_good()[0].headers().contains(&"x-other: kept".to_owned()));
}

#[test]
fn b84_the_first_forwarded_address_is_the_senders() {
    let collector = collector();
    get(&collector, "/i?e=pv&p=web&tv=t", "X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\n");
    get(&collector, "/i?e=pv&p=web&tv=t", "X-Real-Ip: 203.0.113.8\r\n");
    get(&collector, "/i?e=pv&p=web&tv=t", "X-Forwarded-For: nonsense\r\n");
    get(&collector, "/i?e=pv&p=web&tv=t&ip=203.0.113.9", "X-Forwarded-For: 203.0.113.7\r\n");
    let stream = collector.stream();
    let addresses: Vec<_> =
        stream.snowplow_good().iter().filter_map(|event| event.column("user_ipaddress")?.as_str()).collect();
    assert_eq!(addresses, ["203.0.113.7", "203.0.113.8", "127.0.0.1", "203.0.113.9"]);
}

#[test]
fn b85_health_is_answered() {
    let collector = collector();
    for path in ["/health", "/sink-health"] {
        let reply = get(&collector, path, "");
        assert_eq!((reply.status, text(&reply).as_str()), (200, "ok"), "{path}");
    }
    let robots = get(&collector, "/robots.txt", "");
    assert!(robots.status == 200 && text(&robots).contains("Disallow: /"));
    assert_eq!(collector.stream().snowplow_requests(), 0);
}

#[test]
fn b86_redirects_are_off_and_unknown_paths_are_not_found() {
    let collector = collector();
    let reply = get(&collector, "/r/tp2?u=http%3A%2F%2Fshop.test", "");
    assert_eq!((reply.status, text(&reply).as_str()), (404, "redirects disabled"));
    for path in ["/", "/a", "/a/b/c", "//b", "/a/"] {
        assert_eq!(get(&collector, path, "").status, 404, "{path}");
    }
    assert_eq!(request(&collector, "PUT", TP2, "").status, 404);
}

#[test]
fn the_network_user_id_is_the_querys_else_the_cookies_else_new() {
    let collector = collector();
    let id = |index: usize| collector.stream().snowplow_good()[index].network_user_id().to_owned();
    let reply = get(&collector, "/i?e=pv&p=web&tv=t&nuid=from-query", "Cookie: sp=from-cookie\r\n");
    assert!(reply.head.contains("set-cookie: sp=from-query;"), "{}", reply.head);
    let reply = get(&collector, "/i?e=pv&p=web&tv=t", "Cookie: other=1; sp=from-cookie\r\n");
    assert!(reply.head.contains("set-cookie: sp=from-cookie;"), "{}", reply.head);
    let reply = get(&collector, "/i?e=pv&p=web&tv=t", "");
    assert_eq!((id(0).as_str(), id(1).as_str(), id(2).len()), ("from-query", "from-cookie", 36));
    assert!(reply.head.contains(&format!("set-cookie: sp={};", id(2))), "{}", reply.head);
    get(&collector, "/i?e=pv&p=web&tv=t&nuid=a&tnuid=b", "Cookie: sp=c\r\n");
    assert_eq!(id(3), "b", "tnuid counts more than nuid");
    assert_eq!(collector.stream().snowplow_good()[3].canonical()["network_userid"], "b");
    let reply = get(&collector, "/i?e=pv&p=web&tv=t&nuid=x%3B%20Domain%3Devil", "");
    assert!(!reply.head.contains("set-cookie"), "no attributes by way of an id: {}", reply.head);
    get(&collector, "/i?e=pv&p=web&tv=t&nuid=", "Cookie: sp=c\r\n");
    get(&collector, "/i?e=pv&p=web&tv=t", "Cookie: sp=\r\n");
    assert_eq!((id(5).len(), id(6).len()), (36, 36), "an empty one is none");
}

#[test]
fn whoever_sends_the_do_not_track_cookie_is_answered_and_not_kept() {
    let builder = DevCollector::builder();
    let collector = builder.with_snowplow_do_not_track_cookie("opt_out", "yes").build().expect("a collector");
    for (cookie, kept) in [("opt_out=yes", 0), ("opt_out=no", 1)] {
        let reply = get(&collector, "/i?e=pv&p=web&tv=t", &format!("Cookie: {cookie}\r\n"));
        assert_eq!((reply.status, counts(&collector)), (200, (kept, 0)), "{cookie}");
    }
}

#[test]
fn the_query_of_a_post_counts_for_each_event_and_wins() {
    let collector = collector();
    post_to(&collector, &format!("{TP2}?aid=query&lang=de"), "", &envelope(&[page_view(), page_view()]).to_string());
    post_to(
        &collector,
        &format!("{TP2}?aid=query"),
        "",
        &envelope(&[crate::story::with(&[("aid", "body")])]).to_string(),
    );
    let stream = collector.stream();
    let values = |column: &str| {
        let values = stream.snowplow_good().iter().map(|event| event.column(column).and_then(|it| it.as_str()));
        values.map(|it| it.map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(values("app_id"), [Some("query".to_owned()), Some("query".to_owned()), Some("query".to_owned())]);
    assert_eq!(values("br_lang"), [Some("de".to_owned()), Some("de".to_owned()), None]);
}
