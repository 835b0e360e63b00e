//! What was published of counts that may begin anew: those of an upstream, a route, a policy or a Redis that a reload takes away and another
//! brings back.

use std::collections::HashMap;

use metrics::{Counter, Gauge, Key, Label, counter, gauge};

/// Turns counts into steps of counters that never go back, and gauges of what has gone into zeros.
#[derive(Default)]
pub(crate) struct Ledger {
    counters: HashMap<Key, Entry<Counter>>,
    gauges: HashMap<Key, Entry<Gauge>>,
    /// The number of the look that is under way.
    look: u64,
}

struct Entry<T> {
    handle: T,
    /// The count at the last look.
    count: u64,
    /// That look.
    look: u64,
}

impl Ledger {
    /// Begins a look at all there is.
    pub(crate) fn begin(&mut self) {
        self.look = self.look.wrapping_add(1);
    }

    /// Something has counted up to `count` since it began. What is less than at the last look has begun anew.
    pub(crate) fn counter(&mut self, name: &'static str, labels: Vec<Label>, count: u64) {
        let key = Key::from_parts(name, labels);
        let entry = self.counters.entry(key).or_insert_with_key(|key| Entry {
            handle: counter!(name, key.labels()),
            count: 0,
            look: 0,
        });
        entry.handle.increment(count.checked_sub(entry.count).unwrap_or(count));
        (entry.count, entry.look) = (count, self.look);
    }

    pub(crate) fn gauge(&mut self, name: &'static str, labels: Vec<Label>, value: f64) {
        let key = Key::from_parts(name, labels);
        let entry = self.gauges.entry(key).or_insert_with_key(|key| Entry {
            handle: gauge!(name, key.labels()),
            count: 0,
            look: 0,
        });
        entry.handle.set(value);
        entry.look = self.look;
    }

    /// Ends a look. What was not met has gone: its counters stay where they are, and if it comes back, it counts from nothing.
    pub(crate) fn end(&mut self) {
        let look = self.look;
        self.counters.retain(|_, entry| entry.look == look);
        self.gauges.retain(|_, entry| {
            let is_there = entry.look == look;
            if !is_there {
                entry.handle.set(0.0);
            }
            is_there
        });
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    /// What Prometheus is shown after looks at these counts, each with the gauge 7; nothing is somebody who is not there.
    fn shown(looks: &[Option<u64>]) -> (u64, u64) {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let mut ledger = Ledger::default();
            for look in looks {
                ledger.begin();
                if let Some(count) = look {
                    ledger.counter("count", vec![Label::new("who", "a")], *count);
                    ledger.gauge("level", vec![Label::new("who", "a")], 7.0);
                }
                ledger.counter("count", vec![Label::new("who", "other")], 1_000);
                ledger.end();
            }
        });
        let text = handle.render();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{who=\"a\"}} "))).unwrap();
            line.parse().unwrap()
        };
        assert!(text.contains("count{who=\"other\"} 1000\n"), "{text}");
        (value("count"), value("level"))
    }

    #[test]
    fn counters_go_on_where_counts_begin_anew() {
        for (looks, count, level) in [
            (&[Some(0)][..], 0, 7),
            (&[Some(5), Some(5), Some(8)], 8, 7),
            (&[Some(5), None], 5, 0),
            (&[Some(5), None, None, Some(0)], 5, 7),
            (&[Some(5), None, Some(2), Some(3)], 8, 7),
            // More than before when it is seen again, yet another's.
            (&[Some(5), None, Some(9)], 14, 7),
            // Never missed, but another's.
            (&[Some(5), Some(2)], 7, 7),
        ] {
            assert_eq!(shown(looks), (count, level), "{looks:?}");
        }
    }
}
