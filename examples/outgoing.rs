//! Keeping a limit that somebody else sets: an API that says "10 requests a second" and answers 429 beyond that.
//!
//! How they count is theirs to know. A bucket of 10 that refills at 10 a second lets 10 go at once and 10 more within the
//! second after, which is 20 in one of their seconds. Two ways to stay below, whichever windows they have:

use std::time::Duration;

use tollgate::Bucket;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One at a time: requests leave a tenth of a second apart.
    let even = Bucket::new("10/s burst 1")?;
    let waits = (0..3).map(|_| even.handle().reserve(1, Duration::from_secs(1)).map(|reservation| reservation.wait()));
    for wait in waits.flatten() {
        println!("go in {wait:?}"); // sleep that long, then send
    }
    // Or ten at once, and no more than ten in any second: a log of when each went.
    let at_once = Bucket::new("10/s as sliding-log")?;
    println!("{} go at once", at_once.handle().take_up_to(100));
    if let Some(wait) = at_once.check().retry_after() {
        println!("the next in {wait:?}");
    }
    Ok(())
}
