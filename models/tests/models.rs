//! Every model as a test; the list is in `src/lib.rs`.

otel_session_models::tests!();
