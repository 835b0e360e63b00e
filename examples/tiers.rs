//! Tiers: the quota depends on who is asking, and may change while the service runs. One table.

use tollgate::{Inheritance, Limiter, Quota};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (free, paid) = (Quota::per_minute(5), Quota::per_minute(50));
    // Announced, so that the time unit suits both.
    let limiter = Limiter::builder(free).also_exact_for(paid).capacity(100_000).build()?;

    let free = limiter.prepare("free", free)?;
    let paid = limiter.prepare("paid", paid)?;

    for request in 1..=6 {
        let decision = limiter.under(&free).check("ada");
        println!("free, request {request}: {:?}, {} left", decision.verdict(), decision.remaining());
    }

    // Ada pays. What she has used stays used.
    limiter.under(&free).convert("ada", &paid, Inheritance::Additive);
    let decision = limiter.under(&paid).check("ada");
    println!("paid: {:?}, {} left of {}", decision.verdict(), decision.remaining(), decision.burst());

    // The free tier becomes larger, for all who are in it.
    let larger = limiter.change_quota(&free, Quota::per_minute(10))?;
    println!("free, larger: {} left for ada", limiter.under(&larger).peek("ada").remaining());
    Ok(())
}
