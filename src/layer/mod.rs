//! Sessions for `tracing`: activity from its spans and events, scopes from its spans, ids in its lines.
//!
//! ```text
//! span created ──> activity ──> scope: own field, else the nearest ancestor's ──> kept with the span
//! span entered ──> scope noted on the thread and attached as a context ──> logs, OpenTelemetry spans
//! span's child, end ──> scope noted by the id of its OpenTelemetry span ──> what starts late or elsewhere
//! event ───────> activity ──> line with the id
//! ```
//!
//! Nothing here depends on whether other layers come before or after: what must be known before an OpenTelemetry span starts is
//! found through its parent, and what is only known later is put on it as it ends.
//!
//! Failure: an id that is no session id is ignored and counted; a filter that panics counts as activity. No lock is held
//! while another layer is called.

mod field;
mod format;
mod policy;
mod scoped;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::trace::TraceContextExt;
use tracing::dispatcher::WeakDispatch;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

pub use format::{SessionFormat, SessionJsonFormat};

use self::field::{GivenId, declares};
use self::policy::Policy;
use self::scoped::{link, scope_of};
use crate::activity::SignalKind;
use crate::scope::entered::{self, Key};
use crate::scope::{self, Opened, spans};
use crate::sessions::Sessions;
use crate::sync::Mutex;
use crate::telemetry::Loss;

impl Sessions {
    /// The layer for `tracing-subscriber`: spans and events keep the session alive, and a span with the field `session.id`
    /// puts everything beneath it into a scope of that id. It may stand anywhere among the layers.
    ///
    /// ```
    /// use otel_session::Sessions;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let sessions = Sessions::builder().build()?;
    /// let subscriber = tracing_subscriber::registry().with(sessions.layer());
    /// tracing::subscriber::with_default(subscriber, || tracing::info!("hello"));
    /// assert!(sessions.current().is_some());
    /// # Ok::<(), otel_session::BuildError>(())
    /// ```
    pub fn layer(&self) -> SessionLayer {
        // From here on and not when it becomes part of a subscriber: one that is reloaded into it is not told.
        self.layers.fetch_add(1, Ordering::Relaxed);
        SessionLayer {
            sessions: self.clone(),
            policy: Policy::default(),
            number: LAYERS.fetch_add(1, Ordering::Relaxed),
            dispatch: Mutex::default(),
        }
    }
}

/// Tells the layers of one process apart.
static LAYERS: AtomicU64 = AtomicU64::new(0);

/// Sessions as a layer of `tracing-subscriber`; made by [`Sessions::layer`].
///
/// # Activity
///
/// Every span that is created and every event asks, in this order, whether it is activity: the level
/// ([`with_activity_level`](Self::with_activity_level)), the target ([`with_activity_targets`](Self::with_activity_targets)), the
/// filter ([`with_activity_filter`](Self::with_activity_filter)) and the [`Activity`](crate::Activity) of the sessions; one no is
/// enough. What is no activity still starts a session if there is none. The traffic of exporters is neither: signals in a
/// context with suppressed telemetry, and those of the targets that exporters are made of, would keep an idle application's
/// session alive, or start the next one by exporting the end of the last.
///
/// This is about `tracing`'s own signals. The OpenTelemetry spans and logs that other layers make of them reach the processors
/// of the sessions, which ask [`Activity`](crate::Activity) alone. To let the layer decide for both, accept only
/// `tracing`'s signals there:
///
/// ```
/// use otel_session::{Activity, Sessions, SignalKind};
/// use tracing::level_filters::LevelFilter;
///
/// let from_tracing = Activity::filter(|signal| {
///     matches!(signal.kind(), SignalKind::TracingSpan | SignalKind::TracingEvent)
/// });
/// let sessions = Sessions::builder().with_activity(from_tracing).build()?;
/// let layer = sessions.layer().with_activity_level(LevelFilter::INFO);
/// # Ok::<(), otel_session::BuildError>(())
/// ```
///
/// # Scopes
///
/// A span with the field `session.id`, given at its creation or recorded later, is a scope: the span itself, its events, the
/// spans beneath it (of `tracing` and of OpenTelemetry) and the logs emitted while one of them is entered carry that id, on
/// whatever thread, across awaits. The innermost scope wins. A span with `parent: None` is in none.
///
/// The id is checked ([`SessionId::parse`](crate::SessionId::parse)); one that is not valid scopes nothing and is counted
/// ([`Loss::InvalidScope`](crate::Loss::InvalidScope)). Other layers copy the field all the same, and what stands on a signal
/// is never overwritten: the span itself is then exported with the id as it was written.
///
/// Limits: a span that a filter disables for this layer is no scope. An event with an explicit `parent:` is logged with the
/// scope of the thread, as it is with the trace of the thread; its span event and its line have the parent's. A span that is
/// never entered and was given a foreign parent (`set_parent`), or whose parent a filter hides from the OpenTelemetry layer,
/// misses its scope if the OpenTelemetry layer comes first.
#[derive(Debug)]
#[must_use = "a layer does nothing until it is added to a subscriber"]
pub struct SessionLayer {
    sessions: Sessions,
    policy: Policy,
    number: u64,
    /// The subscriber this layer became a part of.
    dispatch: Mutex<Option<WeakDispatch>>,
}

impl SessionLayer {
    /// Signals that are more verbose than this are no activity. Default: all levels count.
    pub fn with_activity_level(mut self, level: LevelFilter) -> Self {
        self.policy.level = level;
        self
    }

    /// The targets, with levels, whose signals are activity. Default: all but those that exporters are made of (`h2`,
    /// `hyper`, `hyper_util`, `tonic`, `tower`, `reqwest`, `rustls` and everything that begins with `opentelemetry`).
    pub fn with_activity_targets(mut self, targets: Targets) -> Self {
        self.policy.targets = Some(targets);
        self
    }

    /// A filter of what is activity. It runs for every signal on the signal's thread, so it should be quick; if it panics the
    /// signal counts as activity, and the panic is counted. What it logs or traces itself is no activity, and it is not asked
    /// about that. Default: everything.
    pub fn with_activity_filter(mut self, filter: impl Fn(&Metadata<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.policy.filter = Some(Arc::new(filter));
        self
    }

    fn intake(&self, kind: SignalKind, metadata: &Metadata<'_>, event: Option<&Event<'_>>) {
        self.policy.intake(&self.sessions, &self.sessions.activity, kind, metadata, event);
    }

    fn key(&self, id: &Id) -> Key {
        Key { layer: self.number, span: id.into_u64() }
    }

    /// The subscriber that this layer is a part of. Layers within a `Vec` or a `reload::Layer` are not told of it, and look for
    /// it where they are called, as far as `tracing` lets them: it is the one that knows the span by the same scope.
    fn dispatch<S>(&self, id: &Id, scope: &Arc<Opened>) -> Option<Dispatch>
    where
        S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    {
        let told = self.dispatch.lock().clone();
        let known = told.or_else(|| {
            let found = tracing::dispatcher::get_default(|dispatch| {
                let span = dispatch.downcast_ref::<S>()?.span(id)?;
                scope_of(&span).is_some_and(|it| Arc::ptr_eq(&it, scope)).then(|| dispatch.downgrade())
            })?;
            *self.dispatch.lock() = Some(found.clone());
            Some(found)
        });
        known?.upgrade()
    }

    /// Says by its OpenTelemetry span's id which scope a span is in. That starts the OpenTelemetry span if it has not
    /// started, so call it only where the OpenTelemetry layer would start it too, or has.
    fn link<S>(&self, span: &SpanRef<'_, S>)
    where
        S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    {
        let Some(scope) = scope_of(span).filter(|_| !spans::is_starting()) else { return };
        if let Some(dispatch) = self.dispatch::<S>(&span.id(), &scope) {
            link(span, &scope, &dispatch);
        }
    }

    /// The same where the OpenTelemetry span has started only if entering starts it, which the current context tells.
    fn link_if_started<S>(&self, span: &SpanRef<'_, S>)
    where
        S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    {
        if scope::map_current(TraceContextExt::has_active_span) == Some(true) {
            self.link(span);
        }
    }

    /// The id that a span's fields give, if it is one.
    fn given(&self, record: impl FnOnce(&mut GivenId)) -> Option<Arc<str>> {
        let mut given = GivenId::default();
        record(&mut given);
        given.parse().unwrap_or_else(|_| {
            self.sessions.core.losses.add(Loss::InvalidScope, 1);
            None
        })
    }
}

impl Drop for SessionLayer {
    fn drop(&mut self) {
        self.sessions.layers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Layer<S> for SessionLayer
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        *self.dispatch.lock() = Some(dispatch.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        self.intake(SignalKind::TracingSpan, attributes.metadata(), None);
        let declared = declares(attributes.metadata());
        if !declared && !scope::in_use() {
            return;
        }
        let Some(span) = ctx.span(id) else { return };
        let inherited = span.parent().and_then(|parent| {
            let scope = scope_of(&parent);
            if scope.is_some() {
                // Its OpenTelemetry span has started, or the OpenTelemetry layer starts it now for the child's sake.
                self.link(&parent);
            }
            scope
        });
        // What the application attached within the entered span is the inner scope.
        let attached = attributes.is_contextual().then(entered::attached_within).flatten();
        let own = if declared {
            let id = self.given(|given| attributes.record(given));
            let outer = attached.or_else(|| inherited.clone());
            Some(Opened::new(id, outer))
        } else {
            attached
        };
        if own.is_some() || inherited.is_some() {
            scoped::keep(&span, own, scope::map_current(scope::of_context).flatten());
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id).filter(|span| declares(span.metadata())) else { return };
        let (Some(opened), Some(id)) = (scoped::own(&span), self.given(|given| values.record(given))) else { return };
        opened.set_id(id);
        // Only where the span is entered does the current context tell of it: elsewhere that is a stranger's, and a span that
        // were started for it could not be given a foreign parent any more.
        if entered::is_entered(self.key(&span.id())) {
            self.link_if_started(&span);
        }
    }

    fn on_event(&self, event: &Event<'_>, _ctx: Context<'_, S>) {
        self.intake(SignalKind::TracingEvent, event.metadata(), Some(event));
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        if !scope::in_use() {
            return;
        }
        let Some(span) = ctx.span(id) else { return };
        let scope = scope_of(&span);
        if let Some(scope) = &scope {
            // Within a `Vec` of layers this is where the subscriber is first seen; the spans beneath need it to find theirs.
            let _ = self.dispatch::<S>(id, scope);
            self.link_if_started(&span);
        }
        entered::enter(self.key(id), scope, scoped::created(&span));
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        if !scope::in_use() || entered::is_empty() {
            return;
        }
        if let Some(span) = ctx.span(id) {
            self.link_if_started(&span);
        }
        entered::exit(self.key(id));
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        if scope::in_use()
            && let Some(span) = ctx.span(&id)
        {
            // Before the OpenTelemetry layer: it would start and end a span that was never entered in one go, unseen.
            self.link(&span);
        }
    }
}
