//! The models, a file for each thing that can go on in a slot. One program: it is linked once, and run under each witness.
#![cfg(tollgate_model)]

mod bucket;
mod change;
mod claim;
mod clock;
mod crowd;
mod evict;
mod lease;
mod log;
mod peek;
mod quota;
mod reclaim;
mod refund;
mod release;
mod reserve;
mod set;
mod snapshot;
mod stall;
mod step;
mod takeover;
mod timeline;
mod undo;
mod window;
