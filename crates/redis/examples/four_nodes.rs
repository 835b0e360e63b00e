//! Four processes under one limit, and what each of them admitted. Needs a server:
//!
//!     cargo run -p tollgate-redis --example four_nodes -- redis://127.0.0.1/

use std::process::{Command, Stdio};
use std::time::Duration;

use tollgate_redis::Fleet;

const QUOTA: &str = "200/second burst 100";
const SECONDS: u64 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().ok_or("the address of a server is missing, such as redis://127.0.0.1/")?;
    // A node is told how many requests it gets a second, and the key.
    if let (Some(rate), Some(key)) = (args.next(), args.next()) {
        println!("{}", node(&address, rate.parse()?, &key).await?);
        return Ok(());
    }
    let key = std::process::id().to_string();
    let nodes = [400, 200, 100, 50].map(|rate: u64| {
        let program = std::env::current_exe();
        program.and_then(|program| {
            Command::new(program)
                .args([&address, &rate.to_string(), &key])
                .stdout(Stdio::piped())
                .spawn()
                .map(|node| (rate, node))
        })
    });
    let mut all = 0;
    println!("{QUOTA}, {SECONDS} s; each # is ten requests admitted, each . ten refused");
    for node in nodes {
        let (rate, node) = node?;
        let output = node.wait_with_output()?;
        let admitted: u64 = String::from_utf8(output.stdout)?.trim().parse()?;
        let offered = rate * SECONDS;
        let count = |n: u64| usize::try_from(n / 10).unwrap_or(0);
        println!(
            "{rate:>4}/s  {}{}  {admitted} of {offered}",
            "#".repeat(count(admitted)),
            ".".repeat(count(offered - admitted))
        );
        all += admitted;
    }
    println!("{all} in all; the limit allows {}", 100 + 200 * SECONDS);
    Ok(())
}

async fn node(address: &str, rate: u64, key: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let fleet = Fleet::builder(address).secret("a secret of the example").build()?;
    if !fleet.ready(Duration::from_secs(2)).await {
        return Err("no server answers at this address".into());
    }
    let limit = fleet.limit("example", QUOTA)?;
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
    let mut admitted = 0;
    for _ in 0..rate * SECONDS {
        tick.tick().await;
        admitted += u64::from(fleet.under(&limit).check(key).await.is_allowed());
    }
    Ok(admitted)
}
