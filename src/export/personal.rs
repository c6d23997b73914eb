//! Which attributes an anonymous event leaves out, at every collector alike.

use crate::semconv::{
    APP_INSTALLATION_ID, CLIENT_ADDRESS, DEVICE_ID, NETWORK_PEER_ADDRESS, OTEL_SESSION_INDEX, SESSION_PREVIOUS_ID,
    SOURCE_ADDRESS,
};

/// Whether an attribute says who the user is: it stands in no event that does not name its user.
pub(crate) fn is_personal(key: &str) -> bool {
    const OTHERS: [&str; 11] = [
        APP_INSTALLATION_ID,
        // It links the sessions of one user.
        SESSION_PREVIOUS_ID,
        CLIENT_ADDRESS,
        DEVICE_ID,
        "enduser",
        NETWORK_PEER_ADDRESS,
        // What the bridge to Snowplow takes for the fingerprint, the address and the network's id of the user.
        "snowplow.fp",
        "snowplow.ip",
        "snowplow.tnuid",
        SOURCE_ADDRESS,
        "user",
    ];
    key.starts_with("user.") || key.starts_with("enduser.") || OTHERS.contains(&key)
}

/// Whether an attribute says which session it is: it stands in no event that does not name its session.
pub(crate) fn is_of_session(key: &str) -> bool {
    key.starts_with("session.") || key == OTEL_SESSION_INDEX
}
