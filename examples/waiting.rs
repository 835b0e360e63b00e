//! Waiting rather than being refused: every reservation gets an instant of its own, first come first served.
//!
//! With an async runtime, `until_ready` (feature `async`) does the sleeping: `limiter.key(key).until_ready(1, max, sleep)`.

use std::time::Duration;

use tollgate::{Algorithm, Bucket, Quota};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A queue that lets one through every 50 ms and holds at most ten.
    let queue = Bucket::new(Quota::per_second(20).with_burst(10).with_algorithm(Algorithm::LeakyQueue))?;
    let patience = Duration::from_millis(250);
    let mut sheep = Vec::new();
    for number in 1..=8 {
        match queue.handle().reserve(1, patience) {
            Ok(reservation) => sheep.push((number, reservation)),
            Err(decision) => {
                println!("sheep {number} would wait longer than {patience:?}: {:?}", decision.retry_after());
            }
        }
    }
    // The last in line changes its mind; the place is free again.
    if let Some((number, reservation)) = sheep.pop() {
        reservation.cancel();
        println!("sheep {number} leaves the queue");
    }
    for (number, reservation) in &sheep {
        let until = reservation.go_at().saturating_duration_since(tollgate::clock::Clock::now(queue.clock()));
        std::thread::sleep(until);
        println!("sheep {number} went after {:?}", reservation.wait());
    }
    Ok(())
}
