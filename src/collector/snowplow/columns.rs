//! The columns of the canonical event, in their order.

use serde_json::{Map, Value as Json, json};

/// A column that is known.
pub(super) type Column = (&'static str, Json);

/// Fills a column. Of several values for one the last counts, and an empty text is no value.
pub(super) fn fill(columns: &mut Vec<Column>, name: &'static str, value: impl Into<Json>) {
    columns.retain(|(filled, _)| *filled != name);
    let value = value.into();
    if value != "" {
        columns.push((name, value));
    }
}

/// All columns by name, `null` where nothing is known.
pub(super) fn complete(known: &[Column], inner_event: Option<&Json>, contexts: &[(String, Json)]) -> Json {
    let mut event: Map<_, _> = NAMES.iter().map(|name| ((*name).to_owned(), Json::Null)).collect();
    for (name, value) in known {
        event.insert((*name).to_owned(), value.clone());
    }
    // These two are kept once, beside the columns.
    let entities: Vec<_> = contexts.iter().map(|(schema, data)| json!({ "schema": schema, "data": data })).collect();
    event.insert("contexts".to_owned(), json!({ "schema": CONTEXTS, "data": entities }));
    let inner = inner_event.map(|inner| json!({ "schema": UNSTRUCT_EVENT, "data": inner }));
    event.insert("unstruct_event".to_owned(), inner.unwrap_or(Json::Null));
    Json::Object(event)
}

const CONTEXTS: &str = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0";
const UNSTRUCT_EVENT: &str = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0";

#[rustfmt::skip]
pub(super) const NAMES: [&str; 131] = [
    "app_id", "platform", "etl_tstamp", "collector_tstamp", "dvce_created_tstamp", "event", "event_id", "txn_id",
    "name_tracker", "v_tracker", "v_collector", "v_etl", "user_id", "user_ipaddress", "user_fingerprint",
    "domain_userid", "domain_sessionidx", "network_userid", "geo_country", "geo_region", "geo_city", "geo_zipcode",
    "geo_latitude", "geo_longitude", "geo_region_name", "ip_isp", "ip_organization", "ip_domain", "ip_netspeed",
    "page_url", "page_title", "page_referrer", "page_urlscheme", "page_urlhost", "page_urlport", "page_urlpath",
    "page_urlquery", "page_urlfragment", "refr_urlscheme", "refr_urlhost", "refr_urlport", "refr_urlpath",
    "refr_urlquery", "refr_urlfragment", "refr_medium", "refr_source", "refr_term", "mkt_medium", "mkt_source",
    "mkt_term", "mkt_content", "mkt_campaign", "contexts", "se_category", "se_action", "se_label", "se_property",
    "se_value", "unstruct_event", "tr_orderid", "tr_affiliation", "tr_total", "tr_tax", "tr_shipping", "tr_city",
    "tr_state", "tr_country", "ti_orderid", "ti_sku", "ti_name", "ti_category", "ti_price", "ti_quantity",
    "pp_xoffset_min", "pp_xoffset_max", "pp_yoffset_min", "pp_yoffset_max", "useragent", "br_name", "br_family",
    "br_version", "br_type", "br_renderengine", "br_lang", "br_features_pdf", "br_features_flash",
    "br_features_java", "br_features_director", "br_features_quicktime", "br_features_realplayer",
    "br_features_windowsmedia", "br_features_gears", "br_features_silverlight", "br_cookies", "br_colordepth",
    "br_viewwidth", "br_viewheight", "os_name", "os_family", "os_manufacturer", "os_timezone", "dvce_type",
    "dvce_ismobile", "dvce_screenwidth", "dvce_screenheight", "doc_charset", "doc_width", "doc_height",
    "tr_currency", "tr_total_base", "tr_tax_base", "tr_shipping_base", "ti_currency", "ti_price_base",
    "base_currency", "geo_timezone", "mkt_clickid", "mkt_network", "etl_tags", "dvce_sent_tstamp",
    "refr_domain_userid", "refr_dvce_tstamp", "derived_contexts", "domain_sessionid", "derived_tstamp",
    "event_vendor", "event_name", "event_format", "event_version", "event_fingerprint", "true_tstamp",
];
