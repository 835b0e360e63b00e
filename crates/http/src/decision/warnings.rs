//! What is said at run time, once for each limiter: mistakes that show with requests only.

use std::sync::atomic::{AtomicBool, Ordering};

/// Which warnings have been given.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    no_address: AtomicBool,
}

impl Warnings {
    /// A request has no peer address, though a key asks for it.
    #[cold]
    pub(crate) fn no_address(&self) {
        // Relaxed, with itself: a flag that publishes nothing. Reading it first keeps its line shared between threads.
        let is_said = self.no_address.load(Ordering::Relaxed) || self.no_address.swap(true, Ordering::Relaxed);
        #[cfg(feature = "tracing")]
        if !is_said {
            tracing::warn!(
                "a request came without the address of its peer, so it shares one bucket with all others without one; with axum, \
                 serve `app.into_make_service_with_connect_info::<SocketAddr>()`; elsewhere put `tollgate_http::PeerAddr` into \
                 the extensions of each request (said once)"
            );
        }
        #[cfg(not(feature = "tracing"))]
        let _ = is_said;
    }
}
