//! A subject, written once for all events.

use super::fields::{Field, write_text};
use super::{Platform, Subject};

/// The fields of a subject as they stand in a payload, each with the comma before it.
#[derive(Debug, Default)]
pub(super) struct SubjectText {
    pub(super) platform: Vec<u8>,
    pub(super) user_id: Vec<u8>,
    /// `sid` and `vid`, for records without a session.
    pub(super) session: Vec<u8>,
    pub(super) by_field: [Vec<u8>; Field::COUNT],
    /// All of [`by_field`](Self::by_field).
    pub(super) fields: Vec<u8>,
    /// Those that do not say who the user is.
    pub(super) masked_fields: Vec<u8>,
}

impl SubjectText {
    pub(super) fn new(subject: &Subject, platform: Platform) -> Self {
        let mut text = Self::default();
        let value = |key: &str| subject.field(key);
        write_text(&mut text.platform, "p", value("p").unwrap_or(platform.as_str()), 20);
        write_text(&mut text.user_id, "uid", value("uid").unwrap_or(""), 255);
        write_text(&mut text.session, "sid", &value("sid").unwrap_or("").to_ascii_lowercase(), 36);
        write_text(&mut text.session, "vid", value("vid").unwrap_or(""), 10);
        for field in Field::ALL {
            let place = &mut text.by_field[field as usize];
            field.write(place, value(field.key()).unwrap_or(""));
            text.fields.extend_from_slice(place);
            if !field.is_personal() {
                text.masked_fields.extend_from_slice(place);
            }
        }
        text
    }
}
