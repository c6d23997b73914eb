//! The exporter of this crate as a contender.

use std::error::Error;

/// Where accepted events wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outbox {
    Memory,
    SqliteFull,
    SqliteNormal,
}

impl Outbox {
    pub(crate) const ALL: [Self; 0] = [];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "ours, memory",
            Self::SqliteFull => "ours, SQLite FULL",
            Self::SqliteNormal => "ours, SQLite NORMAL",
        }
    }

    pub(crate) fn name_when_filled(self) -> &'static str {
        match self {
            Self::Memory => "ours, memory, requests of 1 MB",
            Self::SqliteFull => "ours, SQLite FULL, requests of 1 MB",
            Self::SqliteNormal => "ours, SQLite NORMAL, requests of 1 MB",
        }
    }
}

pub(crate) fn run(_arguments: &[String]) -> Result<(), Box<dyn Error>> {
    Ok(())
}

/// Events a second that are encoded on one core.
pub(crate) fn encode(_lasting: std::time::Duration) -> Option<f64> {
    None
}
