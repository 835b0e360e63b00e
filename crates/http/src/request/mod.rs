//! What rules see of a request.

mod info;
pub(crate) mod path;
mod peer;
mod route;

pub use info::RequestInfo;
pub use peer::{AuthenticatedUser, PeerAddr};
pub use route::Route;

pub(crate) use peer::peer;
pub(crate) use route::PathPattern;
