//! Several limits at once, all or nothing: refused by one, the others keep their balance.

use std::net::IpAddr;

use tollgate::{LimitSet, Limiter, Quota, SetItem, parse_quotas};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As in Flask-Limiter's `default_limits=["200 per day", "5 per hour"]`.
    let quotas = parse_quotas("200 per day, 5 per hour")?;
    let builder = quotas.iter().fold(Limiter::builder(quotas[0]), |builder, &quota| builder.also_exact_for(quota));
    let limiter = builder.build()?;
    let limits: Result<Vec<_>, _> = quotas.iter().map(|&quota| limiter.prepare(&quota.to_string(), quota)).collect();
    let set = LimitSet::new(limits?)?;

    let client: IpAddr = "2001:db8::7".parse()?;
    for request in 1..=6 {
        let answer = limiter.check_set(&set, &client);
        let quota = &quotas[answer.index()];
        let decision = answer.decision();
        if answer.is_allowed() {
            println!("request {request}: served; tightest is `{quota}`, {} left", decision.remaining());
        } else {
            println!("request {request}: refused by `{quota}`, try again in {:?}", decision.retry_after());
        }
    }

    // Limits with keys of their own: this client, and everybody together.
    let everybody = limiter.prepare("everybody", Quota::per_second(1_000))?;
    let shares = [
        SetItem { limit: &set.limits()[1], key: limiter.hash("grace"), cost: 1 },
        SetItem { limit: &everybody, key: limiter.hash(""), cost: 1 },
    ];
    let answer = limiter.check_items(&shares)?;
    println!("grace, and everybody: {:?}", answer.decision().verdict());
    Ok(())
}
