//! The side of the upstreams: which is asked, and over which connection.

pub(super) mod check;
pub(super) mod complaint;
pub(super) mod dial;
pub(super) mod expected;
pub(crate) mod groups;
pub(super) mod heard;
pub(super) mod http2;
pub(super) mod link;
pub(super) mod pool;
pub(super) mod request_body;
#[expect(clippy::module_inception, reason = "the upstreams themselves, beside what leads there")]
pub(super) mod upstream;
