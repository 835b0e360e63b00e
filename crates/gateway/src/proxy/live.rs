//! What is in force now: settings and upstreams, replaced together and in one step.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;

use crate::proxy::settings::Settings;
use crate::proxy::tls::{self, TlsError};
use crate::proxy::upstream::upstream::Upstreams;

/// Settings and what was built from them.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) upstreams: Upstreams,
    pub(crate) connector: HttpsConnector<HttpConnector>,
}

impl State {
    fn new(settings: Settings, before: &Upstreams) -> Result<Self, TlsError> {
        let upstreams = Upstreams::new(&settings.upstreams, before);
        let connector = tls::connector(settings.upstream_ca.as_deref())?;
        Ok(Self { settings, upstreams, connector })
    }
}

/// The one handle to the state; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Live(Arc<ArcSwap<State>>);

impl Live {
    pub(crate) fn new(settings: Settings) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(State::new(settings, &Upstreams::default())?))))
    }

    /// Prepares another state, which may fail.
    pub(crate) fn prepare(&self, settings: Settings) -> Result<State, TlsError> {
        State::new(settings, &self.0.load().upstreams)
    }

    /// Puts a prepared state in force, for all connections and requests that begin from now on.
    pub(crate) fn put(&self, state: State) {
        self.0.store(Arc::new(state));
    }

    pub(crate) fn now(&self) -> Arc<State> {
        self.0.load_full()
    }

    /// A view for one thread, which looks whether the state was replaced at the cost of one load.
    pub(crate) fn view(&self) -> View {
        let cache = Cache::new(Arc::clone(&self.0));
        let seen = RefCell::new(Rc::new(Seen(self.now())));
        View { cache: RefCell::new(cache), seen }
    }
}

/// One thread's view of the state. What it hands out is counted on this thread alone, so that threads do not fight for
/// the count of the state with every request.
#[derive(Debug)]
pub(crate) struct View {
    cache: RefCell<Cache<Arc<ArcSwap<State>>, Arc<State>>>,
    seen: RefCell<Rc<Seen>>,
}

impl View {
    pub(crate) fn now(&self) -> Rc<Seen> {
        let mut cache = self.cache.borrow_mut();
        let newest = cache.load();
        let mut seen = self.seen.borrow_mut();
        if !Arc::ptr_eq(newest, &seen.0) {
            *seen = Rc::new(Seen(Arc::clone(newest)));
        }
        Rc::clone(&seen)
    }
}

/// A state as one thread holds it.
#[derive(Debug)]
pub(crate) struct Seen(Arc<State>);

impl Deref for Seen {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}
