//! The handle that an application holds, and its builder.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider};

use crate::activity::Activity;
use crate::clock::{Clock, Source, SystemClock, duration_nanos};
use crate::error::{BuildError, ShutdownError};
use crate::lifecycle::{Core, Watch};
use crate::session::{Chain, IdSource, Session, SessionId, Settings, Transition};
use crate::telemetry::{Loss, LossCounters, Losses, meter, observe};

/// Sessions of one process: cheap to clone, every clone the same sessions.
///
/// Signals get their session from the processors and layers made here. Nothing starts before the first signal or
/// [`record_activity`](Self::record_activity).
///
/// ```
/// use otel_session::Sessions;
///
/// let sessions = Sessions::builder().build()?;
/// assert!(sessions.current().is_none());
/// let session = sessions.record_activity();
/// assert_eq!(sessions.current(), Some(session));
/// # Ok::<(), otel_session::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Sessions {
    pub(crate) core: Arc<Core>,
    pub(crate) activity: Activity,
    /// How many layers there are to take in the signals of `tracing`, so that others need not.
    #[allow(dead_code)] // only the tracing layer asks
    pub(crate) layers: Arc<AtomicUsize>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("current", &self.current())
            .field("activity", &self.activity)
            .field("losses", &self.losses())
            .finish()
    }
}

impl Sessions {
    /// Begins to configure sessions; the defaults are those of [`SessionsBuilder`].
    pub fn builder() -> SessionsBuilder {
        SessionsBuilder::default()
    }

    /// The live session. Reads only: it never creates and never extends one. None before the first signal, once the session
    /// is over, and after [`shutdown`](Self::shutdown).
    #[must_use]
    pub fn current(&self) -> Option<Session> {
        self.core.current.peek()
    }

    /// Notes that the user did something: extends the live session, or starts one if there is none or it is over.
    /// After [`shutdown`](Self::shutdown) it returns the last session.
    pub fn record_activity(&self) -> Session {
        match self.core.current.touch(true, || None) {
            Some(live) => Session(&live.snapshot),
            None => never_started(),
        }
    }

    /// Ends the live session now ([`EndReason::Rotated`](crate::EndReason::Rotated)) and starts the next, linked by its
    /// previous id. If the session had already reached a limit, that limit is how it ended. After
    /// [`shutdown`](Self::shutdown) it returns the last session.
    ///
    /// The records are published by the next log, flush or shutdown, or by the keeper, whichever comes first.
    pub fn rotate(&self) -> Session {
        self.core.current.rotate().unwrap_or_else(never_started)
    }

    /// Ends the live session now ([`EndReason::Ended`](crate::EndReason::Ended)). The next signal starts an unlinked one.
    pub fn end(&self) {
        self.core.current.end();
    }

    /// From now on signals belong to this user, or to none; exported as `user.id`. An empty text means none, and so does one
    /// that cannot be exported as it is (more than 200 bytes, or a control character), which is counted as
    /// [`Loss::InvalidUser`](crate::Loss::InvalidUser).
    ///
    /// Each change keeps some 180 bytes for as long as the process runs, also a change back to an earlier value.
    pub fn set_user_id(&self, user_id: Option<&str>) {
        let user_id = user_id.filter(|user_id| !user_id.is_empty());
        let valid = user_id.filter(|user_id| SessionId::parse(user_id).is_ok());
        if valid != user_id {
            self.core.losses.add(Loss::InvalidUser, 1);
        }
        self.core.current.set_user_id(valid);
    }

    /// The application went to the background, or came back. While it is there the background timeout counts
    /// ([`SessionsBuilder::with_background_timeout`]). The change is no activity, but the idle window starts anew with it;
    /// a second call with the same value does nothing. Each change keeps some 160 bytes for as long as the process runs.
    pub fn set_background(&self, background: bool) {
        self.core.current.set_background(background);
        self.core.current.sink().keeper.nudge();
    }

    /// Subscribes to transitions, and is told of the live session at once, before this call returns.
    ///
    /// That first call is made here, on this thread; afterwards the observer runs on the keeper thread, one call at a time and
    /// in order. It may call anything, may be slow, may
    /// panic (counted as [`Loss::ObserverPanic`](crate::Loss::ObserverPanic)). Dropping the returned [`Watch`]
    /// unsubscribes; [`Watch::detach`] keeps the observer for good.
    pub fn on_transition(&self, observer: impl FnMut(&Transition) + Send + 'static) -> Watch {
        self.core.observe(observer)
    }

    /// What was lost so far, by reason.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.core.losses.read()
    }

    /// Ends the live session ([`EndReason::Shutdown`](crate::EndReason::Shutdown)), flushes every attached log pipeline, all at
    /// once and off this thread, waits for it at most `timeout`, and stops the keeper. Nothing starts afterwards: signals carry
    /// the last session's id. Calling it again is fine.
    ///
    /// Call it before the providers' own shutdown, which would take the pipelines away. Spans that are flushed later still
    /// carry the session they started in.
    ///
    /// # Errors
    /// When flushing takes longer than `timeout` (it goes on in the background), or a pipeline fails to flush.
    pub fn shutdown(&self, timeout: Duration) -> Result<(), ShutdownError> {
        match self.core.shutdown(timeout) {
            None => Err(ShutdownError::Timeout(timeout)),
            Some(errors) if errors.is_empty() => Ok(()),
            Some(errors) => Err(ShutdownError::Flush(errors)),
        }
    }
}

/// What is returned when there never was a session and none may start any more: a session that no signal carries.
fn never_started() -> Session {
    use std::sync::OnceLock;
    static NEVER: OnceLock<crate::session::Snapshot> = OnceLock::new();
    Session(NEVER.get_or_init(|| crate::session::Snapshot {
        id: crate::session::own_id(),
        previous_id: None,
        started_at: 0,
        index: 0,
        user_id: None,
        installation_id: None,
    }))
}

/// The settings of [`Sessions`].
#[derive(Debug)]
#[must_use = "nothing happens before build()"]
pub struct SessionsBuilder {
    inactivity_timeout: Option<Duration>,
    background_timeout: Option<Duration>,
    max_duration: Option<Duration>,
    activity: Activity,
    clock: Source,
    ids: IdSource,
    user_id: Option<String>,
    installation_id: Option<String>,
    meter: Option<Meter>,
}

impl Default for SessionsBuilder {
    fn default() -> Self {
        Self {
            inactivity_timeout: None,
            background_timeout: None,
            max_duration: None,
            activity: Activity::default(),
            clock: SystemClock.into_source(),
            ids: IdSource::default(),
            user_id: None,
            installation_id: None,
            meter: None,
        }
    }
}

impl SessionsBuilder {
    /// How long a session may be idle: it is over when this much time has passed since the last activity. Default: 30
    /// minutes. More than zero, at most 100 years, and at most the maximum duration if there is one. A sleeping machine counts
    /// as idle.
    pub fn with_inactivity_timeout(mut self, timeout: Duration) -> Self {
        self.inactivity_timeout = Some(timeout);
        self
    }

    /// The timeout that counts instead while [`Sessions::set_background`] is true. Default: the inactivity timeout. More
    /// than zero, at most 100 years, and at most the maximum duration if there is one.
    pub fn with_background_timeout(mut self, timeout: Duration) -> Self {
        self.background_timeout = Some(timeout);
        self
    }

    /// How long a session may last, whatever its activity. Default: no limit. More than zero, at most 100 years.
    pub fn with_max_duration(mut self, max: Duration) -> Self {
        self.max_duration = Some(max);
        self
    }

    /// Which signals keep a session alive. Default: [`Activity::EverySignal`].
    pub fn with_activity(mut self, activity: Activity) -> Self {
        self.activity = activity;
        self
    }

    /// Where time comes from. Default: [`SystemClock`].
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = clock.into_source();
        self
    }

    /// Where session ids come from. Default: UUID version 4, lower case, with dashes.
    ///
    /// The generator is called once for each session. What it returns is checked ([`SessionId::parse`], and that it differs
    /// from the previous id); if that fails or it panics, an id of our own is used and counted. That it repeats no older id is
    /// up to you.
    pub fn with_id_generator<T: Into<String>>(mut self, generator: impl Fn() -> T + Send + Sync + 'static) -> Self {
        self.ids = IdSource::User(Arc::new(move || generator().into()));
        self
    }

    /// The user that signals belong to from the start; see [`Sessions::set_user_id`]. Default: none.
    pub fn with_user_id(mut self, user_id: impl Into<String>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }

    /// The installation of the application, exported as `app.installation.id` on lifecycle records. Default: none.
    pub fn with_installation_id(mut self, installation_id: impl Into<String>) -> Self {
        self.installation_id = Some(installation_id.into());
        self
    }

    /// Exports [`Sessions::losses`] as the counter `otel_session.losses` of the meter `otel_session`. Default: not exported.
    ///
    /// Where a process has several `Sessions`, the meters after the first are told apart by the scope's attribute
    /// `otel.component.name` (`otel_session/1`, `otel_session/2`, in the order of these calls): they count by themselves.
    pub fn with_meter_provider(mut self, provider: &impl MeterProvider) -> Self {
        self.meter = Some(meter(provider));
        self
    }

    /// Builds the sessions and starts the keeper thread.
    ///
    /// # Errors
    /// When a setting cannot work, or the thread cannot be started.
    pub fn build(self) -> Result<Sessions, BuildError> {
        let settings = self.settings()?;
        for (setting, text) in [("with_user_id", &self.user_id), ("with_installation_id", &self.installation_id)] {
            if let Some(Err(problem)) = text.as_deref().map(SessionId::parse) {
                return Err(BuildError::Text { setting, problem });
            }
        }
        let losses = Arc::new(LossCounters::default());
        if let Some(meter) = &self.meter {
            observe(meter, &losses);
        }
        let chain = Chain::new(settings, self.user_id.as_deref(), self.installation_id.as_deref());
        let core = Core::new(chain, self.clock, self.ids, losses).start().map_err(BuildError::Thread)?;
        Ok(Sessions { core, activity: self.activity, layers: Arc::default() })
    }

    fn settings(&self) -> Result<Settings, BuildError> {
        let max_duration = self.max_duration.map(|max| checked("with_max_duration", max)).transpose()?;
        let inactivity_timeout = match self.inactivity_timeout {
            None => duration_nanos(INACTIVITY_TIMEOUT),
            Some(timeout) => self.within_max("with_inactivity_timeout", timeout)?,
        };
        let background_timeout = match self.background_timeout {
            None => inactivity_timeout,
            Some(timeout) => self.within_max("with_background_timeout", timeout)?,
        };
        Ok(Settings { inactivity_timeout, background_timeout, max_duration })
    }

    fn within_max(&self, setting: &'static str, timeout: Duration) -> Result<i64, BuildError> {
        let nanos = checked(setting, timeout)?;
        match self.max_duration {
            Some(max) if timeout > max => {
                let fix = format!("must not exceed with_max_duration({max:?}); use {max:?} or less");
                Err(BuildError::Duration { setting, value: timeout, fix })
            }
            _ => Ok(nanos),
        }
    }
}

/// The default of [`SessionsBuilder::with_inactivity_timeout`].
const INACTIVITY_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// The longest duration that is accepted: 100 years. Longer ones would overflow nanoseconds.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

fn checked(setting: &'static str, value: Duration) -> Result<i64, BuildError> {
    let fix = if value.is_zero() {
        let by_hand =
            if setting == "with_inactivity_timeout" { ", or use Activity::Explicit and rotate()" } else { "" };
        format!("must be more than zero; leave it out to use the default{by_hand}")
    } else if value > LONGEST {
        format!("must be at most 100 years ({LONGEST:?}); leave it out or use less")
    } else {
        return Ok(duration_nanos(value));
    };
    Err(BuildError::Duration { setting, value, fix })
}
