//! Tests against real servers, which they start themselves: `ci/redis.sh` says with which.

mod cases;
mod exact;
mod harness;
