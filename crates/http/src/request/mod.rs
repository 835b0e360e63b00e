//! What rules see of a request.

mod info;
pub(crate) mod path;
mod peer;
mod route;
mod view;

pub use info::RequestInfo;
pub use peer::{AuthenticatedUser, PeerAddr};
pub use route::Route;
pub use view::{FieldLines, Fields, RequestParts, RequestView};

pub(crate) use route::PathPattern;
