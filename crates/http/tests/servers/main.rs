//! The layer in real servers, with real clients.

#[cfg(feature = "axum")]
mod axum_server;
mod client;
mod hyper_server;
#[cfg(feature = "tonic")]
mod tonic_server;
