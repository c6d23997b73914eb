//! Whether the user wants to be left out.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::BuildError;

/// Whether the user has opted out, asked before each batch.
#[derive(Clone)]
pub(crate) enum OptOut {
    Asked(Arc<dyn Fn() -> bool + Send + Sync>),
    File(PathBuf),
}

impl OptOut {
    /// Refuses a file without a name, as a variable that is not set gives it: it is never there, so that nobody could opt out.
    pub(crate) fn check(all: &[Self]) -> Result<(), BuildError> {
        if all.iter().any(|it| matches!(it, Self::File(path) if path.as_os_str().is_empty())) {
            return Err(BuildError::Setting {
                setting: "with_opt_out_file",
                value: "\"\"".to_owned(),
                fix: "name the file by which users opt out, or leave it out".to_owned(),
            });
        }
        Ok(())
    }

    /// A hook that panics, and a file that cannot be asked for, stand for an opt-out: what the user wants is not known, and an
    /// event sent cannot be taken back.
    pub(crate) fn is_out(&self) -> bool {
        match self {
            Self::Asked(ask) => catch_unwind(AssertUnwindSafe(|| ask())).unwrap_or(true),
            Self::File(path) => path.try_exists().unwrap_or(true),
        }
    }
}

impl fmt::Debug for OptOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(_) => f.write_str("Asked(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Whether the environment asks not to be tracked: `DO_NOT_TRACK` or `OTEL_SDK_DISABLED`, by the rules of each.
pub(crate) fn environment_opts_out(read: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |value: &str| !matches!(value, "" | "0") && !value.eq_ignore_ascii_case("false");
    let do_not_track = read("DO_NOT_TRACK").is_some_and(|value| is_set(value.trim()));
    // OpenTelemetry: true is only the word itself, in any case.
    let disabled = read("OTEL_SDK_DISABLED").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    do_not_track || disabled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_opts_out_by_the_rules_of_each_variable() {
        let with = |name: &'static str, value: &'static str| {
            environment_opts_out(|asked| (asked == name).then(|| value.to_owned()))
        };
        for (value, out) in [("1", true), ("true", true), ("yes", true), ("0", false), ("false", false), ("", false)] {
            assert_eq!(with("DO_NOT_TRACK", value), out, "DO_NOT_TRACK={value}");
        }
        for (value, out) in [("true", true), ("TRUE", true), ("1", false), ("yes", false), ("", false)] {
            assert_eq!(with("OTEL_SDK_DISABLED", value), out, "OTEL_SDK_DISABLED={value}");
        }
        assert!(!environment_opts_out(|_| None));
    }

    #[test]
    fn a_hook_that_panics_counts_as_an_opt_out() {
        assert!(OptOut::Asked(Arc::new(|| panic!("who knows"))).is_out());
        assert!(!OptOut::Asked(Arc::new(|| false)).is_out());
        assert!(OptOut::File(std::env::temp_dir()).is_out());
    }
}
