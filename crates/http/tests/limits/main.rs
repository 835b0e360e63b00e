//! Policies as a service behind the layer meets them, on a clock that the test moves.

mod app;
mod charge;
mod concurrency;
mod evasion;
mod full;
mod keys;
mod matching;
mod policies;
mod queue;
mod race;
mod refusal;
mod reload;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod shared;
mod standing;
mod straight;
mod strict;
mod tiers;
mod tower_contract;
mod view;
mod watching;
