//! Tiers: the quota depends on who is asking, and may change while the service runs. One table, one bucket a user.

use tollgate::{Inheritance, Limiter, Quota};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (free, paid) = (Quota::per_minute(5), Quota::per_minute(50));
    // Announced, so that the time unit suits both.
    let limiter = Limiter::builder(free).expect(paid).capacity(100_000).build()?;

    // The same name: the same bucket of a user, whichever quota it is judged by.
    let free = limiter.limit("api", free)?;
    let paid = limiter.limit("api", paid)?;

    for request in 1..=6 {
        let decision = limiter.with(&free).check("ada");
        println!("free, request {request}: {:?}, {} left", decision.verdict(), decision.remaining());
    }

    // Ada pays. Her debt would be kept as time; this keeps it as a share of what she may have.
    limiter.with(&free).convert("ada", &paid, Inheritance::Additive);
    let decision = limiter.with(&paid).check("ada");
    println!("paid: {:?}, {} left of {}", decision.verdict(), decision.remaining(), decision.limit());
    Ok(())
}
