//! The shortest useful program: ten requests a minute for each client.

use std::net::IpAddr;

use tollgate::Limiter;
use tollgate::clock::CachedClock;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::builder("10/minute").capacity(100_000).build()?;
    let client: IpAddr = "192.0.2.7".parse()?;
    for request in 1..=12 {
        let decision = limiter.check(&client);
        if decision.is_allowed() {
            println!("request {request:2}: served, {} left", decision.remaining());
        } else {
            println!("request {request:2}: refused, try again in {:?}", decision.retry_after());
        }
    }
    println!("{:?}", limiter.stats());

    // A key may be made of several, of any kinds: this user, at this address. And where half a millisecond does not matter, a
    // clock that is kept by a thread of its own makes a check cheaper.
    let logins = Limiter::builder("5 per 15 minutes").clock(CachedClock::new()?).build()?;
    let user = String::from("ada");
    println!("ada, from there: {:?}", logins.check(&(client, &user)).verdict());
    Ok(())
}
