//! The one place where synchronisation primitives come from, so that the model checker runs the shipped modules.
//!
//! Built with `--cfg otel_session_loom` (see `models/`) every primitive is loom's; otherwise the standard library's and,
//! for the pointer that publishes the live session, crossbeam's [`AtomicCell`](crossbeam_utils::atomic::AtomicCell).
//!
//! Locks here ignore poison: no user code ever runs under one, so a poisoned lock would only turn one panic into many.

#[cfg(otel_session_loom)]
pub(crate) use model::*;
#[cfg(not(otel_session_loom))]
pub(crate) use real::*;

#[cfg(not(otel_session_loom))]
mod real {
    use std::time::Duration;

    pub(crate) use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    pub(crate) use std::thread::ThreadId;

    /// A mutex whose lock cannot fail.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    pub(crate) type MutexGuard<'a, T> = std::sync::MutexGuard<'a, T>;

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    /// A condition variable whose waits always have a bound.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(std::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        /// Waits at most `bound`; the flag says that the bound was reached.
        pub(crate) fn wait_at_most<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            bound: Duration,
        ) -> (MutexGuard<'a, T>, bool) {
            let (guard, result) = self.0.wait_timeout(guard, bound).unwrap_or_else(std::sync::PoisonError::into_inner);
            (guard, result.timed_out())
        }

        /// Waits until `done`, at most `bound`; the flag says that the bound was reached first.
        pub(crate) fn wait_until<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            bound: Duration,
            mut done: impl FnMut(&mut T) -> bool,
        ) -> (MutexGuard<'a, T>, bool) {
            let (guard, result) = self
                .0
                .wait_timeout_while(guard, bound, |value| !done(value))
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            (guard, result.timed_out())
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// Publishes one shared reference: readers load it with one acquire load and never see a mix of two.
    #[derive(Debug)]
    pub(crate) struct Published<T: 'static>(crossbeam_utils::atomic::AtomicCell<Option<&'static T>>);

    impl<T> Published<T> {
        pub(crate) fn empty() -> Self {
            Self(crossbeam_utils::atomic::AtomicCell::new(None))
        }

        #[inline]
        pub(crate) fn load(&self) -> Option<&'static T> {
            self.0.load()
        }

        pub(crate) fn store(&self, value: Option<&'static T>) {
            self.0.store(value);
        }
    }

    pub(crate) fn this_thread() -> ThreadId {
        std::thread::current().id()
    }

    /// Starts a thread that nobody joins.
    pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
    }
}

#[cfg(otel_session_loom)]
mod model {
    use std::time::Duration;

    pub(crate) use loom::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    pub(crate) use loom::thread::ThreadId;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    pub(crate) type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        /// A bound that is never reached: the model shows that whoever waits is woken.
        pub(crate) fn wait_at_most<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _bound: Duration,
        ) -> (MutexGuard<'a, T>, bool) {
            (self.0.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner), false)
        }

        pub(crate) fn wait_until<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
            bound: Duration,
            mut done: impl FnMut(&mut T) -> bool,
        ) -> (MutexGuard<'a, T>, bool) {
            while !done(&mut guard) {
                guard = self.wait_at_most(guard, bound).0;
            }
            (guard, false)
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// The pointer as an index into a table: loom models the index's ordering, without unsafe code.
    #[derive(Debug)]
    pub(crate) struct Published<T: 'static> {
        index: loom::sync::atomic::AtomicUsize,
        table: std::sync::Mutex<Vec<&'static T>>,
    }

    impl<T> Published<T> {
        pub(crate) fn empty() -> Self {
            Self { index: loom::sync::atomic::AtomicUsize::new(0), table: std::sync::Mutex::new(Vec::new()) }
        }

        pub(crate) fn load(&self) -> Option<&'static T> {
            let index = self.index.load(Ordering::Acquire);
            let table = self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            index.checked_sub(1).map(|index| table[index])
        }

        pub(crate) fn store(&self, value: Option<&'static T>) {
            let index = match value {
                None => 0,
                Some(value) => {
                    let mut table = self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    table.push(value);
                    table.len()
                }
            };
            self.index.store(index, Ordering::Release);
        }
    }

    pub(crate) fn this_thread() -> ThreadId {
        loom::thread::current().id()
    }

    pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        loom::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
    }
}
