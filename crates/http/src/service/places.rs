//! The places of a request whose response is not its end.

use std::sync::{Arc, Mutex, PoisonError};

use crate::decision::admitted::Permits;

/// Holds a request's places under bounds on concurrency for longer than its response, for what follows a
/// `101 Switching Protocols`: a service puts a clone into the response's extensions, and the request counts as in flight until
/// all clones are dropped.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Mutex<Permits>>);

impl Places {
    /// Room for the places of one request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn keep(&self, permits: Permits) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(permits);
    }
}
