//! Places where a test lets the process die, to see what a crash there leaves behind.
//!
//! `OTEL_SESSION_FAILPOINT=name:n` aborts the process at the n-th pass of that place; `name` alone means the first. Only
//! with the feature `testing`; without it there is nothing here.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

const VARIABLE: &str = "OTEL_SESSION_FAILPOINT";

/// Passes the place `name`, or dies there.
pub(crate) fn pass(name: &str) {
    static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSES: AtomicU64 = AtomicU64::new(0);
    let armed = ARMED.get_or_init(|| std::env::var(VARIABLE).ok().map(|text| parse(&text)));
    if let Some((place, at)) = armed
        && place == name
        && PASSES.fetch_add(1, Ordering::Relaxed) + 1 == *at
    {
        std::process::abort();
    }
}

fn parse(text: &str) -> (String, u64) {
    match text.split_once(':') {
        Some((name, pass)) => (name.to_owned(), pass.parse().unwrap_or(1)),
        None => (text.to_owned(), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_may_carry_the_pass_at_which_to_die() {
        assert_eq!(parse("before-commit"), ("before-commit".to_owned(), 1));
        assert_eq!(parse("after-send:20"), ("after-send".to_owned(), 20));
    }
}
