//! The reverse proxy that stands in front of an API.
//!
//! A client's way in, in this order: the [`listener`](client::listener) accepts it on one of the [`threads`], the
//! [`connection`](client::connection) finds out what it speaks ([`preface`](client::preface), [`tls`]) and watches its
//! [`activity`](client::activity), the [`proxy`](exchange::proxy) takes each request, has it rewritten by
//! [`forward`](exchange::forward) and [`hop`](exchange::hop), and sends it over a connection of the
//! [`pool`](upstream::pool) to one of the [`upstreams`](upstream::upstream). The bodies are carried by
//! [`request_body`](upstream::request_body) and [`response_body`](exchange::response_body), those of HTTP/2 clients by
//! [`fetched`](client::fetched) too, and what is no longer HTTP by [`upgrade`](exchange::upgrade). What is in force
//! while all this happens is in [`live`], and comes from [`settings`]. All of it together is the [`gateway`].
//!
//! Nothing here limits rates: that is done by the layer round the service that the threads are given.

pub(crate) mod client;
mod client_body;
mod coarse_clock;
pub(crate) mod cors;
pub(crate) mod echo;
pub(crate) mod error;
mod exchange;
mod executor;
pub(crate) mod fields;
pub mod gateway;
mod idle_timer;
pub(crate) mod live;
mod log;
mod service;
pub mod settings;
pub(crate) mod shutdown;
mod tally;
mod threads;
mod times;
pub mod tls;
mod upstream;
pub mod view;
