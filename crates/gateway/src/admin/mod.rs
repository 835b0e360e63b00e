//! The admin listener: how the gateway and its policies are doing, for people, scripts and Prometheus.
//!
//! [`door`] opens the address; [`server`] answers there on a thread of its own, so that whoever looks never slows a
//! client down. [`guard`] turns away what browsers are lured into, [`routes`] knows the paths, and behind them are
//! [`metrics`], [`health`], [`limits`] and [`live`], which feeds the [`page`] from the [`history`] that is sampled once
//! a second.
//!
//! Nothing here changes anything: every path is read only.

mod door;
mod guard;
mod health;
mod history;
mod limits;
mod live;
mod metrics;
mod page;
mod reply;
mod routes;
mod server;
mod state;

pub(crate) use self::door::Door;
