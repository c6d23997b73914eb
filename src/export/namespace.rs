//! The namespace of ids that are made of texts.

use uuid::Uuid;

/// The namespace (in the sense of RFC 9562) of the UUIDs of version 5 that are made of session ids, user ids and record
/// ids: the version 5 UUID of `io.github.otel_session` in the namespace of domain names.
///
/// Both bridges use it for `log.record.uid`, so one record has one event id at both.
pub const ID_NAMESPACE: Uuid = Uuid::from_u128(0x1921_2018_5ac3_5534_9018_bf30_de29_2c65);
