//! The shortest useful program: ten requests a minute for each client.

use std::net::IpAddr;

use tollgate::{Limiter, Quota};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::builder("10/minute".parse::<Quota>()?).capacity(100_000).build()?;
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
    Ok(())
}
