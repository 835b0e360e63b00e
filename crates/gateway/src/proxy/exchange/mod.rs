//! One request and its answer.

pub(super) mod forward;
pub(super) mod hop;
pub(super) mod proxy;
pub(super) mod response_body;
pub(super) mod upgrade;
