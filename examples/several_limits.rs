//! Several limits at once, all or nothing: refused by one, the others keep their balance.

use std::net::IpAddr;

use tollgate::{Limiter, SetItem};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As in Flask-Limiter's `default_limits=["200 per day", "5 per hour"]`.
    let rates = "200 per day, 5 per hour";
    let limiter = Limiter::builder("1000/second").also_exact_for(rates).build()?;
    let set = limiter.prepare_set("client", rates)?;

    let client: IpAddr = "2001:db8::7".parse()?;
    for request in 1..=6 {
        let answer = limiter.check_set(&set, &client);
        let quota = answer.limit().quota();
        if answer.is_allowed() {
            println!("request {request}: served; tightest is `{quota}`, {} left", answer.remaining());
        } else {
            println!("request {request}: refused by `{quota}`, try again in {:?}", answer.retry_after());
        }
    }

    // Limits with keys of their own: this client, and everybody together.
    let everybody = limiter.prepare("everybody", "1000/second")?;
    let items = [
        SetItem { limit: &set.limits()[1], key: limiter.hash("grace"), cost: 1 },
        SetItem { limit: &everybody, key: limiter.hash(""), cost: 1 },
    ];
    let answer = limiter.check_items(&items)?;
    println!("grace, and everybody: {:?}", answer.decision().verdict());
    Ok(())
}
