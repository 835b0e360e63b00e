//! The gateway in this process, with settings that a test chooses, between real clients and upstreams that misbehave.

mod clients;
mod failing;
mod framing;
mod heads;
mod http2;
mod limits;
mod passing;
mod reload;
mod routes;
mod stopping;
mod tls;
mod tool;
mod unix;
mod upgrades;
mod upstreams;
