//! Model checks: every interleaving, within a bound, of the modules that `otel-session` ships.
//!
//! The modules are included from `src/`, not copied. Under the `cfg` that `build.rs` sets, their one source of
//! synchronisation primitives (`sync`) gives them loom's. See `README.md` for what the models show, and cannot show.

#[path = "../../src/activity.rs"]
#[allow(dead_code, unused_imports)]
mod activity;
#[path = "../../src/clock.rs"]
#[allow(dead_code, unused_imports)]
mod clock;
#[path = "../../src/error.rs"]
#[allow(dead_code, unused_imports)]
mod error;
#[path = "../../src/event_name.rs"]
#[allow(dead_code, unused_imports)]
mod event_name;
#[path = "../../src/lifecycle/mod.rs"]
#[allow(dead_code, unused_imports)]
mod lifecycle;
#[path = "../../src/scope/mod.rs"]
#[allow(dead_code, unused_imports)]
mod scope;
#[path = "../../src/semconv.rs"]
#[allow(dead_code, unused_imports)]
mod semconv;
#[path = "../../src/session/mod.rs"]
#[allow(dead_code, unused_imports)]
mod session;
#[path = "../../src/sessions.rs"]
#[allow(dead_code, unused_imports)]
mod sessions;
#[path = "../../src/stamp/mod.rs"]
#[allow(dead_code, unused_imports)]
mod stamp;
#[path = "../../src/sync.rs"]
#[allow(dead_code, unused_imports)]
mod sync;
#[path = "../../src/telemetry.rs"]
#[allow(dead_code, unused_imports)]
mod telemetry;

mod pipelines;
mod publish;
mod rig;
mod rotate;
mod settings;
mod touch;

/// Lists the models once: as what `tests/` runs, so that a model that is not listed is dead code, which clippy refuses.
macro_rules! models {
    ($($room:ident: $($model:ident)*;)*) => {
        #[doc(hidden)]
        pub mod listed {
            $($(pub fn $model() { crate::$room::$model(); })*)*
        }

        /// Makes a test of each model.
        #[macro_export]
        macro_rules! tests {
            () => { $($(#[test] fn $model() { $crate::listed::$model(); })*)* };
        }
    };
}

models! {
    touch:
        two_threads_that_touch_an_expired_session_rotate_it_once
        three_threads_that_touch_an_expired_session_rotate_it_once
        threads_that_race_to_be_first_share_one_session
        a_touch_at_the_deadline_extends_the_session_or_starts_the_next
        a_signal_before_the_deadline_and_one_after_it_leave_no_session_without_an_end
        a_slow_id_generator_is_called_once_and_everybody_waits_for_it;
    rotate:
        rotations_and_a_touch_follow_each_other_in_one_chain
        after_an_end_a_touch_starts_an_unlinked_session
        nothing_starts_after_a_stop_and_everything_started_has_ended
        a_reader_that_was_paused_during_a_rotation_returns_the_new_session
        a_touch_that_was_paused_during_a_rotation_returns_the_new_session;
    settings:
        a_change_of_user_shows_no_reader_a_mix
        a_change_to_the_background_revives_nothing
        activity_during_a_change_of_user_is_kept;
    publish:
        two_emitters_and_a_pusher_keep_the_order_and_lose_nothing
        whoever_waits_for_a_turn_is_woken
        a_batch_that_takes_all_has_the_records_that_its_logs_marked
        no_log_goes_out_before_the_start_of_its_session;
    pipelines:
        in_a_wrapped_processor_every_log_follows_the_start_of_its_session
        a_pipeline_that_attaches_during_a_rotation_has_the_start_of_what_it_stamps
        the_last_pipeline_to_leave_takes_no_start_without_its_end
        what_is_decided_reaches_pipelines_and_observers_without_a_log
        the_keeper_and_a_signal_at_the_deadline_end_the_session_once;
}
