//! Counts how many of some requests a fleet admits, one after the other: a node for the tests of clients in other languages.
//!
//! ```text
//! cargo run -p tollgate-redis --example hits -- ADDRESS SECRET NAME LIMIT KEY REQUESTS [COST]
//! ```

use tollgate_redis::Fleet;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("hits: {error}");
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ([address, secret, name, limit, key, requests] | [address, secret, name, limit, key, requests, _]) =
        args.as_slice()
    else {
        return Err("expected ADDRESS SECRET NAME LIMIT KEY REQUESTS [COST]".into());
    };
    let cost: u64 = args.get(6).map_or(Ok(1), |cost| cost.parse())?;
    let requests: u64 = requests.parse()?;
    // The longest deadline: what is counted here is what the server says.
    let deadline = tollgate_redis::FleetBuilder::MAX_DEADLINE;
    let fleet = Fleet::builder(address.as_str()).secret(secret).deadline(deadline).build()?;
    if !fleet.ready(core::time::Duration::from_secs(10)).await {
        return Err("there is no server".into());
    }
    let limits: Vec<_> = limit.split(", ").map(|text| fleet.limit(name, text)).collect::<Result<_, _>>()?;
    let mut admitted = 0;
    for _ in 0..requests {
        let decision = fleet.check_set_n(&limits, key.as_str(), cost).await;
        if let Some(outage) = decision.decision().outage() {
            return Err(outage.to_string().into());
        }
        admitted += u64::from(decision.is_allowed());
    }
    println!("{admitted}");
    Ok(())
}
