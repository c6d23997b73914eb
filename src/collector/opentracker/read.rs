//! From the pairs of a request to an event with its ids.

use std::collections::HashMap;

use super::records::{EVENT_ID, OpentrackerRecord, SESSION_ID, TIMESTAMP, USER_ID};

/// Makes an event of a request's pairs; of two with the same name the last counts. `event_id` is new, and what the server
/// sets itself (`eid`, `unixtimestamp`) is not taken from the request.
///
/// # Errors
/// A sentence for the sender when the site is missing or a name is not allowed.
pub(in crate::collector) fn read(
    pairs: impl Iterator<Item = (String, String)>,
    event_id: &str,
    now_millis: i64,
) -> Result<OpentrackerRecord, String> {
    let mut site = String::new();
    let mut properties = vec![(TIMESTAMP.to_owned(), now_millis.to_string())];
    let mut places = HashMap::new();
    for (name, value) in pairs {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            let shown: String = name.chars().take(LONGEST_SHOWN).collect();
            return Err(format!("the property name {shown:?} is not made of ASCII characters without spaces"));
        }
        match name.as_str() {
            SITE => site = value,
            EVENT_ID | TIMESTAMP => {}
            _ => {
                let place = *places.entry(name.clone()).or_insert(properties.len());
                match properties.get_mut(place) {
                    Some((_, old)) => *old = value,
                    None => properties.push((name, value)),
                }
            }
        }
    }
    if site.is_empty() {
        return Err("the parameter si is missing or empty: it names the site that the event belongs to".to_owned());
    }
    let given = |name: &str| {
        let value = places.get(name).map(|place| properties[*place].1.as_str());
        value.filter(|id| !id.is_empty()).map(str::to_owned)
    };
    let (session, user) = (given(SESSION_ID), given(USER_ID));
    // A session that nobody is named for is its own user; a user without a session begins one.
    let user = user.or_else(|| session.clone()).unwrap_or_else(|| event_id.to_owned());
    let session = session.unwrap_or_else(|| event_id.to_owned());
    properties.retain(|(name, _)| name != SESSION_ID && name != USER_ID);
    properties.push((EVENT_ID.to_owned(), event_id.to_owned()));
    properties.push((SESSION_ID.to_owned(), session));
    properties.push((USER_ID.to_owned(), user));
    let mut event = OpentrackerRecord { sequence: 0, site, properties, size: 0 };
    event.measure();
    Ok(event)
}

const SITE: &str = "si";
const LONGEST_SHOWN: usize = 80;
