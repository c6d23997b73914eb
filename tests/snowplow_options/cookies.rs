//! The browser's id cookie.

use otel_session::export::snowplow::IdCookie;

const FULL: &str = "d.100.3.120.110.s.p.f.120500.7";

#[test]
fn the_browsers_cookie_is_read_and_written_back_as_it_was() {
    let cookie = IdCookie::parse(FULL);
    assert_eq!(cookie.domain_user_id, "d");
    assert_eq!((cookie.created, cookie.visit_count, cookie.now, cookie.last_visit), (100, 3, 120, Some(110)));
    assert_eq!(cookie.session_id.as_deref(), Some("s"));
    assert_eq!(cookie.previous_session_id.as_deref(), Some("p"));
    assert_eq!(cookie.first_event_id.as_deref(), Some("f"));
    assert_eq!((cookie.first_event_millis, cookie.event_index), (Some(120_500), 7));
    assert_eq!(cookie.to_string(), FULL);
    let first_visit = "d.100.1.120..s..f.120500.1";
    assert_eq!(IdCookie::parse(first_visit).to_string(), first_visit);
}

#[test]
fn a_cookie_of_an_older_tracker_lacks_what_it_did_not_know() {
    assert_eq!(IdCookie::parse(""), IdCookie::default());
    let without_session = IdCookie::parse("d.100.3.120.110");
    assert_eq!((without_session.session_id, without_session.event_index), (None, 0));
    let with_session = IdCookie::parse("d.100.3.120.110.s");
    assert_eq!((with_session.session_id.as_deref(), with_session.previous_session_id), (Some("s"), None));
    let broken = IdCookie::parse("d.x.-1.99999999999999999999999..s");
    assert_eq!((broken.created, broken.visit_count, broken.now), (0, 0, 0));
}

#[test]
fn an_anonymous_cookie_names_neither_the_user_nor_the_session_before() {
    assert_eq!(IdCookie::parse(FULL).anonymous().to_string(), ".100.3.120.110.s..f.120500.7");
}

#[test]
fn the_cookie_is_found_by_the_beginning_of_its_name() {
    let header = format!("a=b; _sp_ses.1fff=*; _sp_id.1fff={FULL}; x=_sp_id.2=z");
    assert_eq!(IdCookie::from_header(&header), Some(IdCookie::parse(FULL)));
    assert_eq!(IdCookie::from_header("_sp_identity=x; a=_sp_id.1"), None);
    let renamed = format!("shop_id.1fff={FULL}");
    assert_eq!(IdCookie::from_header(&renamed), None);
    assert_eq!(IdCookie::from_header_named(&renamed, "shop_"), Some(IdCookie::parse(FULL)));
}
