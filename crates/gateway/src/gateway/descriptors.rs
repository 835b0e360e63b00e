//! As many open sockets as the system allows: shells commonly start programs with far fewer.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as this process may. If it may not, there is simply room for fewer clients.
pub(crate) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
