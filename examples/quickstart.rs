//! The shortest useful program: ten requests a minute for each client.

use std::net::IpAddr;

use tollgate::{Limiter, Quota};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::builder("10/minute".parse::<Quota>()?).capacity(100_000).build()?;
    let client: IpAddr = "192.0.2.7".parse()?;
    for request in 1..=12 {
        let decision = limiter.check(&client);
        match decision.retry_after() {
            None => println!("request {request:2}: served, {} left", decision.remaining()),
            Some(wait) => println!("request {request:2}: refused, try again in {wait:?}"),
        }
    }
    println!("{:?}", limiter.stats());
    Ok(())
}
