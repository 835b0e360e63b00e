//! What is said once, because it shows with requests only. A program of its own: of one that others make log at once, and nobody hears,
//! `tracing` may remember that nobody does.

#[path = "limits/app.rs"]
#[allow(dead_code, reason = "the parts of it that other tests use")]
mod app;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_http::LimiterConfig;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use app::{App, get, policy};

/// Counts warnings of this crate.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicU64>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tollgate_http")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn requests_without_an_address_are_warned_of_once() {
    let warnings = Warnings::default();
    let said = || warnings.0.load(Ordering::Relaxed);
    tracing::subscriber::with_default(warnings.clone(), || {
        let nowhere = http::Request::new(());
        let app = App::new(LimiterConfig::new().policy(policy("all", "9/hour").key("all".parse().unwrap())));
        drop(app.limiter.check(&nowhere));
        assert_eq!(said(), 0, "no key asks for the address");
        let app = App::of([policy("default", "9/hour")]);
        drop(app.limiter.check(&get("/")));
        assert_eq!(said(), 0, "there is an address");
        (0..3).for_each(|_| drop(app.limiter.check(&nowhere)));
        assert_eq!(said(), 1);
        // On the straight path too, also where the key that is found is another.
        let app = App::of([policy("default", "9/hour").key("header:x | ip".parse().unwrap())]);
        let mut keyed = http::Request::new(());
        keyed.headers_mut().insert("x", http::HeaderValue::from_static("1"));
        (0..3).for_each(|_| assert!(app.limiter.check_at_once(&keyed).unwrap().is_ok()));
        assert_eq!(said(), 2);
    });
}
