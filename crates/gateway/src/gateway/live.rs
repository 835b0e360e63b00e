//! What is in force now: settings and upstreams, replaced together and in one step.

use std::cell::RefCell;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;

use super::settings::Settings;
use super::tls::{self, TlsError};
use super::upstream::Upstreams;

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

    /// Puts `settings` in force for all connections and requests that begin from now on.
    pub(crate) fn replace(&self, settings: Settings) -> Result<(), TlsError> {
        let state = State::new(settings, &self.0.load().upstreams)?;
        self.0.store(Arc::new(state));
        Ok(())
    }

    pub(crate) fn now(&self) -> Arc<State> {
        self.0.load_full()
    }

    /// A view for one thread, which looks whether the state was replaced at the cost of one load.
    pub(crate) fn view(&self) -> View {
        View(RefCell::new(Cache::new(Arc::clone(&self.0))))
    }
}

#[derive(Debug)]
pub(crate) struct View(RefCell<Cache<Arc<ArcSwap<State>>, Arc<State>>>);

impl View {
    pub(crate) fn now(&self) -> Arc<State> {
        Arc::clone(self.0.borrow_mut().load())
    }
}
