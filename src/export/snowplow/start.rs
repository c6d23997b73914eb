//! From a builder to a running exporter.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::exporter::{Intake, Queue, Shared};
use super::map::Mapper;
use super::mapped::Mapped;
use super::registry::{DEFAULT_NAMESPACE, Reservation};
use super::{IdentityLifetime, SnowplowExporter, SnowplowExporterBuilder, StateStorage, settings};
use crate::clock::duration_nanos;
use crate::error::BuildError;
use crate::export::delivery::{Callbacks, Courier};
use crate::export::opt_out::OptOut;
use crate::export::outbox::{Depot, StateRow};
use crate::sync::Mutex;
use crate::telemetry::LossCounters;

/// Checks, opens, starts: in this order, so that a mistake leaves nothing behind.
pub(super) fn start(mut builder: SnowplowExporterBuilder) -> Result<SnowplowExporter, BuildError> {
    settings::check_namespace(builder.namespace.as_deref())?;
    OptOut::check(&builder.hooks.opt_out)?;
    let destinations = settings::destinations(&builder)?;
    let mut content = settings::content(&mut builder)?;
    let reservation = Reservation::take(builder.namespace.as_deref())?;
    let losses = Arc::<LossCounters>::default();
    content.namespace = reservation.name().to_owned();
    // Not the number that a name of our own may have: it is another one whenever exporters are built in another order.
    content.state_key = builder.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    content.losses = Arc::clone(&losses);

    let outbox = match builder.max_queue_events {
        Some(events) => builder.outbox.with_max_events(events),
        None => builder.outbox,
    };
    let queues = u16::try_from(destinations.len()).unwrap_or(u16::MAX);
    let (depot, rows) = Depot::open(outbox, queues, builder.source.clone(), Arc::clone(&losses))?;
    depot.claim(&rows, "snowplow")?;
    let own_client = builder.transport.client.is_some();
    let stateless = builder.state == StateStorage::None;
    let suppressed = settings::is_suppressed(&builder.hooks);
    let known = Identity::read(&content.state_key, &rows);
    let anonymity = content.anonymity;
    let mapper = Mapper::new(content, &rows);
    let callbacks =
        Callbacks { on_success: builder.hooks.on_success.clone(), on_failure: builder.hooks.on_failure.clone() };
    let queues = destinations.into_iter().zip(0..).map(|(to, queue)| {
        let protocol = Arc::clone(&to.protocol);
        let (depot, source) = (Arc::clone(&depot), builder.source.clone());
        let courier =
            Courier::start(depot, queue, protocol, to.delivery, source, Arc::clone(&losses), callbacks.clone())?;
        Ok(Queue { courier, protocol: to.protocol, post_path: to.post_path })
    });
    let queues = queues.collect::<Result<Vec<_>, BuildError>>()?;
    let shared = Arc::new(Shared {
        decider: mapper.decider(),
        namespace: reservation.name().to_owned(),
        intake: Mutex::new(Intake { mapper, anonymity, mapped: Mapped::default() }),
        depot,
        queues,
        hooks: builder.hooks,
        losses,
        source: builder.source,
        stateless,
        own_client,
        suppressed,
        opted_out: AtomicBool::new(false),
        forgotten: AtomicBool::new(false),
        unforgotten: Mutex::new(Vec::new()),
        closed: AtomicBool::new(false),
    });
    known.keep(builder.identity, &shared);
    reservation.fill(&shared);
    Ok(SnowplowExporter::from(shared))
}

/// When the identity in an outbox was last used.
struct Identity {
    key: Vec<u8>,
    used: Option<i64>,
    anything: bool,
}

impl Identity {
    fn read(namespace: &str, rows: &[StateRow]) -> Self {
        let key = [namespace.as_bytes(), b"\0identity"].concat();
        let row = rows.iter().find(|row| row.table == META && row.key == key);
        let used = row.and_then(|row| row.value.as_deref()?.try_into().ok()).map(i64::from_le_bytes);
        Self { key, used, anything: !rows.is_empty() }
    }

    /// Forgets an identity whose time is over, or whom the environment asks not to track, and notes when this one was used.
    fn keep(self, lifetime: IdentityLifetime, shared: &Shared) {
        if !shared.depot.is_durable() {
            return;
        }
        let now = shared.source.moment().wall;
        let over = match lifetime {
            IdentityLifetime::For(lifetime) => {
                self.used.is_some_and(|used| now.saturating_sub(used) >= duration_nanos(lifetime))
            }
            IdentityLifetime::Process | IdentityLifetime::NotPersisted => self.anything,
        };
        if over || shared.suppressed {
            shared.forget();
        }
        if matches!(lifetime, IdentityLifetime::For(_)) {
            let row = StateRow::new(META, self.key, Some(now.to_le_bytes().to_vec()));
            // An outbox that cannot write is told of by the first batch.
            let _ = shared.depot.accept(Vec::new(), vec![row]);
        }
    }
}

/// The outbox's table of what belongs to neither a session nor a user.
const META: u8 = 3;
