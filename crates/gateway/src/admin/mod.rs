//! The admin listener: how the gateway and its policies are doing, for people, scripts and Prometheus.
//!
//! [`listener`] opens the address; [`server`] answers there on its own thread, so that reading it never slows a
//! client down. [`guard`] turns away what browsers are lured into, [`routes`] knows the paths, and behind them are
//! [`metrics`], [`health`], [`limits`] and [`live`], which feeds the [`page`] from the [`history`] that is sampled once
//! a second.
//!
//! Nothing here changes anything: every path is read only.

mod guard;
mod health;
mod history;
mod ledger;
mod limits;
mod listener;
mod live;
mod metrics;
mod page;
mod reply;
mod routes;
mod server;
mod state;

pub(crate) use self::listener::AdminListener;
