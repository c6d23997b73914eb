//! The parameters that fill columns of their own, and what each may hold.

use serde_json::Value as Json;
use url::Url;

use super::super::times;
use super::columns::{Column, fill};
use super::payload::{Parameters, RequestFacts};
use super::registry::{is_uuid, shorten};

/// What a parameter may hold.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// At most so many characters.
    Text(usize),
    Uuid,
    /// Milliseconds since 1970, of the years 0 to 9999.
    Time,
    /// A whole number that fits 32 bits.
    Int,
    /// The same, not negative.
    Count,
    /// A number.
    Decimal,
    /// `0` or `1`, shown as a truth value.
    Flag,
    /// `WIDTHxHEIGHT`; the second column takes the height.
    Size(&'static str),
    Platform,
    /// A text as [`Text`](Rule::Text) without `:` and `;`.
    Name(usize),
    /// A list of addresses, of which the first counts.
    Address,
}

/// The columns of an event's parameters. What is wrong goes to `errors`; each error names parameter and value.
pub(super) fn columns(parameters: &Parameters, facts: &RequestFacts, errors: &mut Vec<String>) -> Vec<Column> {
    let mut columns = Vec::new();
    for (key, column, rule) in RULES {
        let overridden = *key == "nuid" && parameters.contains_key("tnuid");
        let Some(value) = parameters.get(*key).filter(|_| !overridden) else { continue };
        if let Err(why) = apply(*rule, column, value, &mut columns) {
            errors.push(shorten(format!("atomic: {key} = {value:?}: {why}")));
        }
    }
    for required in ["tv", "p", "e"] {
        if !parameters.contains_key(required) {
            errors.push(format!("atomic: {required} is missing"));
        }
    }
    from_request(facts, &mut columns, errors);
    fill(&mut columns, "derived_tstamp", times::iso(derived_time(parameters, facts)));
    addresses(&mut columns);
    columns
}

fn apply(rule: Rule, column: &'static str, value: &str, columns: &mut Vec<Column>) -> Result<(), String> {
    let column_value = match rule {
        Rule::Text(max) => text(value, max)?,
        Rule::Name(max) if value.contains([':', ';']) => {
            return Err(format!("a name of at most {max} characters without : and ; is expected"));
        }
        Rule::Name(max) => text(value, max)?,
        Rule::Address => text(value.split(',').next().unwrap_or_default().trim(), 128)?,
        Rule::Uuid if is_uuid(value) => value.to_ascii_lowercase().into(),
        Rule::Uuid => return Err("not a valid UUID".to_owned()),
        Rule::Time => {
            let millis = value.parse().ok().filter(is_legal);
            times::iso(millis.ok_or("milliseconds since 1970 are expected, of the years 0 to 9999")?).into()
        }
        Rule::Int => value.parse::<i32>().map_err(|_| "a whole number of 32 bits is expected")?.into(),
        Rule::Count => {
            let count = value.parse::<i32>().ok().filter(|count| *count >= 0);
            count.ok_or("a whole number from 0 to 2147483647 is expected")?.into()
        }
        Rule::Decimal => {
            let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
            number.ok_or("a number is expected")?.into()
        }
        Rule::Flag => match value {
            "0" => false.into(),
            "1" => true.into(),
            _ => return Err("0 or 1 is expected".to_owned()),
        },
        Rule::Size(height_column) => {
            let sizes = value.split_once('x').and_then(|(width, height)| Some((count(width)?, count(height)?)));
            let (width, height) = sizes.ok_or("WIDTHxHEIGHT is expected, two whole numbers")?;
            fill(columns, height_column, height);
            width.into()
        }
        Rule::Platform if PLATFORMS.contains(&value) => value.into(),
        Rule::Platform => return Err(format!("one of {} is expected", PLATFORMS.join(", "))),
    };
    fill(columns, column, column_value);
    Ok(())
}

fn count(text: &str) -> Option<i32> {
    text.parse().ok().filter(|count| *count >= 0)
}

/// Columns are written as tab-separated values, so tabs become blanks and other control characters go.
fn text(value: &str, max: usize) -> Result<Json, String> {
    let characters = value.encode_utf16().count();
    if characters > max {
        return Err(format!("{characters} characters, at most {max} are allowed"));
    }
    if !value.contains(char::is_control) {
        return Ok(value.into());
    }
    Ok(value.replace('\t', "    ").replace(char::is_control, "").into())
}

/// What the request says where the parameters do not, under the rules of the same columns.
fn from_request(facts: &RequestFacts, columns: &mut Vec<Column>, errors: &mut Vec<String>) {
    let event_id = uuid::Uuid::new_v4().to_string();
    for (column, value) in [
        ("useragent", facts.user_agent.as_deref()),
        ("user_ipaddress", Some(facts.ip_address.as_str())),
        ("page_url", facts.referer.as_deref()),
        ("network_userid", Some(facts.network_user_id.as_str())),
        ("event_id", Some(event_id.as_str())),
        ("v_collector", Some(COLLECTOR_NAME)),
    ] {
        let rule = RULES.iter().find(|(_, name, _)| *name == column).map(|(_, _, rule)| *rule);
        let missing = !columns.iter().any(|(name, _)| *name == column);
        let (Some(value), Some(rule), true) = (value, rule, missing) else { continue };
        if let Err(why) = apply(rule, column, value, columns) {
            errors.push(shorten(format!("atomic: {column} = {value:?}, by the request's headers: {why}")));
        }
    }
    fill(columns, "collector_tstamp", times::iso(facts.arrived_millis));
}

/// The true time if there is one; else the arrival, set back by as long as the event waited on the device, if that is a
/// time that can be written; else the arrival.
fn derived_time(parameters: &Parameters, facts: &RequestFacts) -> i64 {
    let millis = |key: &str| parameters.get(key).and_then(|value| value.parse().ok()).filter(is_legal);
    match (millis("ttm"), millis("dtm"), millis("stm")) {
        (Some(true_time), _, _) => true_time,
        (None, Some(created), Some(sent)) if created < sent => {
            Some(facts.arrived_millis - (sent - created)).filter(is_legal).unwrap_or(facts.arrived_millis)
        }
        _ => facts.arrived_millis,
    }
}

fn is_legal(millis: &i64) -> bool {
    LEGAL_MILLIS.contains(millis)
}

/// The parts of the page's and the referrer's address, the marketing parameters, and the link between two domains.
fn addresses(columns: &mut Vec<Column>) {
    let parse = |columns: &[Column], name: &str| {
        let value = columns.iter().find(|(column, _)| *column == name).and_then(|(_, value)| value.as_str())?;
        Url::parse(value).ok()
    };
    let page = parse(columns, "page_url");
    let referrer = parse(columns, "page_referrer");
    for (url, names) in [(&page, PAGE_PARTS), (&referrer, REFERRER_PARTS)] {
        let Some(url) = url else { continue };
        let [scheme, host, port, path, query, fragment] = names;
        let parts = [
            (scheme, Some(url.scheme())),
            (host, url.host_str()),
            (path, Some(url.path())),
            (query, url.query()),
            (fragment, url.fragment()),
        ];
        parts.into_iter().for_each(|(name, value)| fill(columns, name, value.unwrap_or_default()));
        if let Some(number) = url.port_or_known_default() {
            fill(columns, port, number);
        }
    }
    let Some(page) = page else { return };
    for (key, value) in page.query_pairs().take(MAX_QUERY_PAIRS) {
        if let Some((_, column)) = MARKETING.iter().find(|(name, _)| *name == key) {
            fill(columns, column, value.as_ref());
        }
        if key == "_sp" {
            cross_domain(&value, columns);
        }
    }
}

/// `_sp=user.millis`, or with up to five further parts.
fn cross_domain(value: &str, columns: &mut Vec<Column>) {
    let parts: Vec<_> = value.split('.').collect();
    if parts.len() > 7 {
        return;
    }
    let (user, millis) = (parts[0], parts.get(1).and_then(|millis| millis.parse().ok()));
    if user.len() <= 128 {
        fill(columns, "refr_domain_userid", user);
    }
    if let Some(millis) = millis.filter(is_legal) {
        fill(columns, "refr_dvce_tstamp", times::iso(millis));
    }
}

pub(super) const COLLECTOR_NAME: &str = concat!("otel-session-dev-collector-", env!("CARGO_PKG_VERSION"));

/// 0000-01-01 to 9999-12-31.
const LEGAL_MILLIS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;
const MAX_QUERY_PAIRS: usize = 100;
const PLATFORMS: [&str; 9] = ["web", "iot", "app", "mob", "pc", "cnsl", "tv", "srv", "headset"];

const PAGE_PARTS: [&str; 6] =
    ["page_urlscheme", "page_urlhost", "page_urlport", "page_urlpath", "page_urlquery", "page_urlfragment"];
const REFERRER_PARTS: [&str; 6] =
    ["refr_urlscheme", "refr_urlhost", "refr_urlport", "refr_urlpath", "refr_urlquery", "refr_urlfragment"];
const MARKETING: [(&str, &str); 5] = [
    ("utm_medium", "mkt_medium"),
    ("utm_source", "mkt_source"),
    ("utm_term", "mkt_term"),
    ("utm_content", "mkt_content"),
    ("utm_campaign", "mkt_campaign"),
];

/// Parameter, column, rule. `e` is judged with the event's type; `nuid` only counts without `tnuid`.
#[rustfmt::skip]
const RULES: &[(&str, &str, Rule)] = &[
    ("eid", "event_id", Rule::Uuid),
    ("tv", "v_tracker", Rule::Text(100)),
    ("p", "platform", Rule::Platform),
    ("tna", "name_tracker", Rule::Name(128)),
    ("aid", "app_id", Rule::Text(255)),
    ("dtm", "dvce_created_tstamp", Rule::Time),
    ("stm", "dvce_sent_tstamp", Rule::Time),
    ("ttm", "true_tstamp", Rule::Time),
    ("tid", "txn_id", Rule::Int),
    ("uid", "user_id", Rule::Text(255)),
    ("duid", "domain_userid", Rule::Text(128)),
    ("sid", "domain_sessionid", Rule::Uuid),
    ("vid", "domain_sessionidx", Rule::Count),
    ("tnuid", "network_userid", Rule::Text(128)),
    ("nuid", "network_userid", Rule::Text(128)),
    ("ip", "user_ipaddress", Rule::Address),
    ("ua", "useragent", Rule::Text(1000)),
    ("fp", "user_fingerprint", Rule::Text(128)),
    ("lang", "br_lang", Rule::Text(255)),
    ("tz", "os_timezone", Rule::Text(255)),
    ("res", "dvce_screenwidth", Rule::Size("dvce_screenheight")),
    ("vp", "br_viewwidth", Rule::Size("br_viewheight")),
    ("ds", "doc_width", Rule::Size("doc_height")),
    ("cd", "br_colordepth", Rule::Text(12)),
    ("cs", "doc_charset", Rule::Text(128)),
    ("cookie", "br_cookies", Rule::Flag),
    ("f_pdf", "br_features_pdf", Rule::Flag),
    ("f_qt", "br_features_quicktime", Rule::Flag),
    ("f_realp", "br_features_realplayer", Rule::Flag),
    ("f_wma", "br_features_windowsmedia", Rule::Flag),
    ("f_dir", "br_features_director", Rule::Flag),
    ("f_fla", "br_features_flash", Rule::Flag),
    ("f_java", "br_features_java", Rule::Flag),
    ("f_gears", "br_features_gears", Rule::Flag),
    ("f_ag", "br_features_silverlight", Rule::Flag),
    ("url", "page_url", Rule::Text(10_000)),
    ("refr", "page_referrer", Rule::Text(10_000)),
    ("page", "page_title", Rule::Text(2000)),
    ("se_ca", "se_category", Rule::Text(1000)),
    ("se_ac", "se_action", Rule::Text(1000)),
    ("se_la", "se_label", Rule::Text(4096)),
    ("se_pr", "se_property", Rule::Text(1000)),
    ("se_va", "se_value", Rule::Decimal),
    ("pp_mix", "pp_xoffset_min", Rule::Int),
    ("pp_max", "pp_xoffset_max", Rule::Int),
    ("pp_miy", "pp_yoffset_min", Rule::Int),
    ("pp_may", "pp_yoffset_max", Rule::Int),
    ("tr_id", "tr_orderid", Rule::Text(255)),
    ("tr_af", "tr_affiliation", Rule::Text(255)),
    ("tr_tt", "tr_total", Rule::Decimal),
    ("tr_tx", "tr_tax", Rule::Decimal),
    ("tr_sh", "tr_shipping", Rule::Decimal),
    ("tr_ci", "tr_city", Rule::Text(255)),
    ("tr_st", "tr_state", Rule::Text(255)),
    ("tr_co", "tr_country", Rule::Text(255)),
    ("tr_cu", "tr_currency", Rule::Text(3)),
    ("ti_id", "ti_orderid", Rule::Text(255)),
    ("ti_sk", "ti_sku", Rule::Text(255)),
    ("ti_nm", "ti_name", Rule::Text(255)),
    ("ti_na", "ti_name", Rule::Text(255)),
    ("ti_ca", "ti_category", Rule::Text(255)),
    ("ti_pr", "ti_price", Rule::Decimal),
    ("ti_qu", "ti_quantity", Rule::Int),
    ("ti_cu", "ti_currency", Rule::Text(3)),
    ("cv", "v_collector", Rule::Text(100)),
];
