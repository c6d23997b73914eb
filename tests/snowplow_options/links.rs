//! Cross-domain links.

use std::time::{Duration, SystemTime};

use otel_session::export::snowplow::{Anonymity, CrossDomainLink, Subject, decorate_url};

use crate::rig::Rig;

const USER: &str = "6de9024e-17b9-4026-bd4d-efec50ae84cb";
const CLICKED: &str = "1680681134458";

fn link() -> CrossDomainLink {
    CrossDomainLink::new(USER, SystemTime::UNIX_EPOCH + Duration::from_millis(1_680_681_134_458)).unwrap()
}

#[test]
fn a_link_to_another_site_carries_the_user_and_the_time() {
    let short = format!("_sp={USER}.{CLICKED}");
    for (url, decorated) in [
        ("https://acme.de", format!("https://acme.de?{short}")),
        ("https://acme.de/", format!("https://acme.de/?{short}")),
        ("https://acme.de/a?b=c", format!("https://acme.de/a?b=c&{short}")),
        ("https://acme.de/a#top", format!("https://acme.de/a?{short}#top")),
        ("http://acme.de:8080/a?b=%20c&d#x?y=z", format!("http://acme.de:8080/a?b=%20c&d&{short}#x?y=z")),
        ("https://acme.de/?_sp=old.1&b=c", format!("https://acme.de/?b=c&{short}")),
        ("https://acme.de/?b=c&_sp=old.1#x", format!("https://acme.de/?b=c&{short}#x")),
        ("https://acme.de/?_sp", format!("https://acme.de/?{short}")),
        ("https://acme.de/?_spx=1", format!("https://acme.de/?_spx=1&{short}")),
        ("https://acme.de/?not_sp=1", format!("https://acme.de/?not_sp=1&{short}")),
        ("https://acme.de/x?a=1&&b=2&", format!("https://acme.de/x?a=1&&b=2&&{short}")),
        ("https://acme.de/x?&a=1&_sp=old.1&", format!("https://acme.de/x?&a=1&&{short}")),
        ("https://acme.de/x?#top", format!("https://acme.de/x?{short}#top")),
        // Blanks around a link are no part of it, and would be one before a query.
        (" https://acme.de/x \n", format!(" https://acme.de/x?{short} \n")),
        ("https://acme.de/x#top ", format!("https://acme.de/x?{short}#top ")),
    ] {
        assert_eq!(decorate_url(url, &link()), decorated, "{url}");
    }
}

#[test]
fn links_that_lead_nowhere_else_are_left_alone() {
    let on_a_page = link().with_page_host("Shop.Example");
    for url in [
        "javascript:void(0)",
        "JavaScript:alert('https://acme.de/')",
        "mailto:ada@acme.de",
        "tel:+31612345678",
        "ftp://acme.de/file",
        "data:text/html,x",
        "#top",
        "?a=b",
        "/cart",
        "cart",
        "//acme.de/a",
        "",
        "https://",
        "https://shop.example/cart",
        "http://SHOP.example:8080/cart",
    ] {
        assert_eq!(decorate_url(url, &on_a_page), url);
    }
    assert_ne!(decorate_url("https://sister.example/cart", &on_a_page), "https://sister.example/cart");
}

#[test]
fn a_host_is_the_same_in_letters_and_in_punycode() {
    for page in ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example"] {
        let on_a_page = link().with_page_host(page);
        for url in ["https://bücher.example/cart", "https://xn--bcher-kva.example/cart"] {
            assert_eq!(decorate_url(url, &on_a_page), url, "{page}");
        }
        assert_ne!(decorate_url("https://bucher.example/", &on_a_page), "https://bucher.example/");
    }
    let on_no_page = link().with_page_host("no host at all");
    assert_ne!(decorate_url("https://acme.de/", &on_no_page), "https://acme.de/");
}

#[test]
fn an_extended_link_has_each_field_in_its_place_and_no_trailing_dots() {
    let session = link().with_session_id("s1").unwrap();
    assert_eq!(session.value(), format!("{USER}.{CLICKED}.s1"));
    // Browsers' `btoa` fails at this one; UTF-8 does not.
    let named = link().with_user_id("Zoë ✓");
    assert_eq!(named.value(), format!("{USER}.{CLICKED}..Wm_DqyDinJM"));
    let all = link().with_session_id("s1").unwrap().with_user_id("ada").with_app_id("shop");
    let all = all.with_platform("web").unwrap().with_reason("Buy now?");
    assert_eq!(all.value(), format!("{USER}.{CLICKED}.s1.YWRh.c2hvcA.web.QnV5IG5vdz8"));
    let app_only = link().with_app_id("shop");
    assert_eq!(app_only.value(), format!("{USER}.{CLICKED}...c2hvcA"));
}

#[test]
fn ids_that_the_receiver_would_cut_are_refused() {
    let now = SystemTime::UNIX_EPOCH;
    for id in ["", "a.b", "a\nb"] {
        assert!(CrossDomainLink::new(id, now).is_err(), "{id:?}");
    }
    assert!(link().with_session_id("a.b").is_err());
    assert!(link().with_platform("a.b").is_err());
    let odd = CrossDomainLink::new("a b&c#d", SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(decorate_url("https://acme.de/", &odd), "https://acme.de/?_sp=a%20b%26c%23d.0");
}

#[test]
fn an_exporter_makes_links_of_the_user_of_its_events_unless_users_are_hidden() {
    let device = "6de9024e-17b9-4026-bd4d-efec50ae84cb";
    let subjects = [
        Subject::new(),
        Subject::new().with_domain_user_id(device),
        Subject::new().with_domain_user_id("of.no.uuid"),
        Subject::new().with_user_id("ada"),
    ];
    let linked = subjects.map(|subject| {
        let rig = Rig::with(|builder| builder.with_subject(subject));
        rig.start(crate::rig::FIRST);
        let event = rig.collector.wait_events(1).remove(0);
        let link = rig.exporter.cross_domain_link().unwrap();
        let user = event.entity("client_session").unwrap()["userId"].as_str().unwrap().to_owned();
        assert!(link.value().starts_with(&format!("{user}.")), "{} {user}", link.value());
        rig.exporter.set_anonymous(Anonymity::with_session_tracking());
        assert_eq!(rig.exporter.cross_domain_link(), None);
        user
    });
    assert_eq!(linked[1], device);
}
