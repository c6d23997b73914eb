//! The field `session.id` of spans and events.

use std::fmt::{Debug, Write as _};
use std::sync::Arc;

use tracing::Metadata;
use tracing::field::{Field, Visit};

use crate::error::InvalidSessionId;
use crate::semconv::SESSION_ID;
use crate::session::SessionId;

/// Whether a span or event has the field at all; its value may come later.
pub(super) fn declares(metadata: &Metadata<'_>) -> bool {
    metadata.fields().iter().any(|field| field.name() == SESSION_ID)
}

/// Takes the value of the field, as text.
#[derive(Default)]
pub(super) struct GivenId(pub(super) Option<String>);

impl GivenId {
    /// The id, if one was given.
    pub(super) fn parse(self) -> Result<Option<Arc<str>>, InvalidSessionId> {
        self.0.map(|id| SessionId::parse(&id).map(|id| id.shared())).transpose()
    }

    fn take(&mut self, field: &Field, value: impl FnOnce() -> String) {
        if field.name() == SESSION_ID {
            self.0 = Some(value());
        }
    }
}

impl Visit for GivenId {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // One that does not let itself be written is no id; `format!` would panic.
        self.take(field, || {
            let mut text = String::new();
            if write!(text, "{value:?}").is_ok() { text } else { String::new() }
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, || value.to_owned());
    }
}

/// The target of the record of the `log` crate that an event was made of.
#[derive(Default)]
pub(super) struct LogTarget(pub(super) Option<String>);

impl Visit for LogTarget {
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.0 = Some(value.to_owned());
        }
    }
}
