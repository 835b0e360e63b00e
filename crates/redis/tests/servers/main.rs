//! Tests against real servers, which they start themselves: `ci/redis.sh` says with which.

#![allow(clippy::disallowed_methods, reason = "measures how long decisions take")]
#![allow(clippy::cast_precision_loss, reason = "counts of a test, compared with bounds of seconds")]

mod cases;
mod exact;
mod faults;
mod harness;
mod leases;
mod matrix;
mod nodes;
mod proxy;
mod record;
mod topologies;
