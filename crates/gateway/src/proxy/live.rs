//! What is in force now: settings and upstreams, replaced together and in one step.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use http::uri::PathAndQuery;

use crate::proxy::log::writer::AccessLog;
use crate::proxy::settings::Settings;
use crate::proxy::tls::{self, Connectors, TlsError};
use crate::proxy::upstream::groups::{Groups, all_origins};
use crate::proxy::upstream::upstream::{Upstream, Upstreams};

/// Settings and what was built from them.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    /// For what no group is for.
    pub(crate) upstreams: Upstreams,
    /// The other groups, if there are any.
    pub(crate) groups: Option<Box<Groups>>,
    /// Every upstream, each once: one that is in several groups is one server, with one health and one bound.
    pub(crate) all: Upstreams,
    /// Those that are checked, and what each is asked for.
    pub(crate) checks: Vec<(Arc<Upstream>, PathAndQuery)>,
    pub(crate) connectors: Connectors,
    pub(crate) access_log: Option<AccessLog>,
}

impl State {
    fn new(settings: Settings, before: Option<&Self>) -> Result<Self, StateError> {
        let nothing = Upstreams::default();
        let origins = all_origins(&settings.upstreams, &settings.routes);
        let all = Upstreams::new(&origins, before.map_or(&nothing, |before| &before.all));
        let upstreams = Upstreams::new(&settings.upstreams, &all);
        let groups = Groups::new(&settings, &all, before.and_then(|before| before.groups.as_deref())).map(Box::new);
        let connectors = tls::connectors(settings.upstream_ca.as_deref(), settings.upstream_http2)?;
        let known = before.and_then(|before| before.access_log.as_ref());
        let access_log = match (&settings.access_log, known) {
            (None, _) => None,
            (Some(wanted), Some(known)) if known.is(wanted) => Some(known.clone()),
            (Some(wanted), _) => Some(AccessLog::open(wanted).map_err(|(path, error)| StateError::Log(path, error))?),
        };
        let checks = checks(&settings, &all);
        Ok(Self { settings, upstreams, groups, all, checks, connectors, access_log })
    }
}

impl State {
    /// One that is not checked any more is not left alone for what was found before.
    fn tell_who_is_checked(&self) {
        for upstream in self.all.iter() {
            upstream.set_checked(self.checks.iter().any(|(checked, _)| Arc::ptr_eq(checked, upstream)));
        }
    }
}

/// What each upstream is asked for, of those that are checked. Of several groups that it is in, the file has all ask the same.
fn checks(settings: &Settings, all: &Upstreams) -> Vec<(Arc<Upstream>, PathAndQuery)> {
    let common = settings.health.path.as_ref();
    let path = |upstream: &Upstream| {
        let mut groups = settings.routes.iter();
        match groups.find(|group| group.upstreams.contains(&upstream.origin)) {
            Some(group) => group.check.path(common),
            None => common,
        }
    };
    all.iter().filter_map(|upstream| Some((Arc::clone(upstream), path(upstream)?.clone()))).collect()
}

/// Why settings cannot be put in force.
#[derive(Debug)]
pub(crate) enum StateError {
    Tls(TlsError),
    /// The access log cannot be written there.
    Log(PathBuf, io::Error),
}

impl From<TlsError> for StateError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Log(path, error) => write!(f, "access_log: cannot write to {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for StateError {}

/// The one handle to the state; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Live(Arc<ArcSwap<State>>);

impl Live {
    pub(crate) fn new(settings: Settings) -> Result<Self, StateError> {
        let state = State::new(settings, None)?;
        state.tell_who_is_checked();
        Ok(Self(Arc::new(ArcSwap::from_pointee(state))))
    }

    /// Prepares another state, which may fail.
    pub(crate) fn prepare(&self, settings: Settings) -> Result<State, StateError> {
        State::new(settings, Some(&self.0.load()))
    }

    /// Puts a prepared state in force, for all connections and requests that begin from now on.
    pub(crate) fn put(&self, state: State) {
        state.tell_who_is_checked();
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
