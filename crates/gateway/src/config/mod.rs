//! The configuration file of `tollgate gateway`: one YAML file with everything.
//!
//! [`parse`] is pure: text to [`Config`], or all that is wrong with the text. It goes from [`node`] (a tree that knows
//! its places) through [`item`] (reading it without giving up at the first mistake) to the sections: [`gateway`],
//! [`client`], [`answer`], [`policy`]. [`load`] reads the file.

pub(crate) mod answer;
pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod explain;
pub(crate) mod gateway;
pub(crate) mod item;
pub(crate) mod limiter;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod problem;
pub(crate) mod units;
pub(crate) mod watch;

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;

use tollgate_http::{Policy, Settings};

use self::answer::Reply;
use self::client::Client;
use self::item::{Item, Problems, Table};
use self::limiter::Keeping;
use self::policy::Plan;
use self::problem::Problem;
use crate::cli::GatewayArgs;
use crate::failure::Failure;
use crate::gateway::settings::{Settings as GatewaySettings, TlsFiles};
use crate::gateway::tls;

/// Where the gateway listens unless told otherwise: to this machine alone.
pub(crate) const DEFAULT_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));
const DEFAULT_ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9900));

/// A settings file is short; whatever is longer is something else.
const MAX_FILE: u64 = 1 << 20;

/// A file, understood.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) limits: Settings,
    pub(crate) gateway: GatewaySettings,
    /// Where the admin page is, if anywhere.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) client: Client,
    pub(crate) keeping: Keeping,
    pub(crate) reply: Reply,
    /// The policies of `limits`, as they can be told of.
    pub(crate) plans: Vec<Plan>,
}

impl Config {
    /// What the command line says instead of a file.
    pub(crate) fn of_flags(args: &GatewayArgs) -> Result<Self, Failure> {
        let policy = Policy::new("default", args.limit.0.clone()).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Self {
            limits: Settings::new().policy(policy),
            gateway: GatewaySettings::new(args.listen, args.upstreams.clone()),
            admin: Some(DEFAULT_ADMIN),
            client: Client::default(),
            keeping: Keeping::default(),
            reply: Reply::default(),
            plans: Vec::new(),
        })
    }
}

/// Reads and checks the file at `path`. Names of other files in it are relative to its folder.
pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    let unreadable = |error| Failure::NoInput(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::Config(format!("{}: longer than 1 MiB, so no configuration", path.display())));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::Config(format!("{}: not UTF-8, so no configuration", path.display())))?;
    let files = Files {
        folder: path.parent().unwrap_or(Path::new("")),
        certificate: |files| tls::server(files).map(drop).map_err(|error| error.to_string()),
        authorities: |path| tls::connector(Some(path)).map(drop).map_err(|error| error.to_string()),
    };
    parse(&text, &files).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| problem.in_file(path)).collect();
        Failure::Config(lines.join("\n"))
    })
}

/// The files that a configuration names: where they are, and whether they are what they should be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) certificate: fn(&TlsFiles) -> Result<(), String>,
    pub(crate) authorities: fn(&Path) -> Result<(), String>,
}

/// Understands `text`, or says all that is wrong with it.
pub(crate) fn parse(text: &str, files: &Files<'_>) -> Result<Config, Vec<Problem>> {
    let root = node::parse(text).map_err(|problem| vec![problem])?;
    let problems = Problems::default();
    let config = Item::root(&root, &problems).table(|table| read(table, files));
    let problems = problems.into_sorted();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

fn read(table: &mut Table<'_, '_>, files: &Files<'_>) -> Config {
    let client = table.get("client").and_then(|item| item.table(client::read)).unwrap_or_default();
    let gateway = gateway::read(table, files, client.trusted.clone());
    let mut admin = Some(DEFAULT_ADMIN);
    table.set("admin", &mut admin, |item| match item.text()? {
        "off" => Some(None),
        _ => gateway::address(&item).map(Some),
    });
    let keeping = table.get("limiter").and_then(|item| item.table(limiter::read)).unwrap_or_default();
    let reply = table.get("answer").and_then(|item| item.table(answer::read)).unwrap_or_default();
    let mut limits = Settings::new()
        .client(client.address.clone())
        .grouping(client.grouping)
        .capacity(keeping.capacity)
        .on_full(keeping.on_full)
        .show_keys(keeping.shows_keys)
        .answer(table.item().accept(reply.answer()).unwrap_or_default());
    let policies = table.get("policies");
    let plans = policies.as_ref().map(policy::read_all).unwrap_or_default();
    if let Some(item) = policies {
        for policy in plans.iter().filter_map(|plan| item.accept(plan.policy())) {
            limits = limits.policy(policy);
        }
        // What each of them says is right; whether they can hold together is for the limiter to say.
        if table.item().is_fine() {
            item.accept(policy::check(limits.clone()));
        }
    }
    Config { limits, gateway, admin, client, keeping, reply, plans }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../tollgate.example.yaml");
    /// As if every file were there and right.
    fn files() -> Files<'static> {
        Files { folder: Path::new(""), certificate: |_| Ok(()), authorities: |_| Ok(()) }
    }

    #[test]
    fn the_example_can_be_used_and_shows_every_key() {
        // What is commented out is an alternative to what is not.
        for text in [EXAMPLE.to_owned(), uncommented(EXAMPLE)] {
            let config = parse(&text, &files()).unwrap();
            assert_eq!(config.plans.len(), 4);
        }
        let text = uncommented(EXAMPLE);
        let (root, problems) = (node::parse(&text).unwrap(), Problems::default());
        Item::root(&root, &problems).table(|table| read(table, &files()));
        for key in problems.asked.borrow().iter() {
            let name = key.rsplit('.').next().unwrap();
            assert!(EXAMPLE.contains(&format!("{name}:")), "the example does not show `{key}`");
        }
    }

    /// With the alternatives that are commented out, in place of what they are alternatives to.
    fn uncommented(text: &str) -> String {
        let is_replaced = |line: &&str| {
            !["    proxy_protocol:", "  trusted: [10.0.0.0/8, 192", "    charge: {only_on"]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let uncomment = |line: &str| {
            let is_key = ["# tls:", "# upstream_ca:", "# hops:", "# charge:"]
                .iter()
                .any(|key| line.trim_start().starts_with(key));
            if is_key { line.replacen("# ", "", 1) } else { line.to_owned() }
        };
        text.lines().filter(is_replaced).map(uncomment).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_defaults_in_the_example_are_those_of_the_program() {
        let (shown, plain) = (parse(EXAMPLE, &files()).unwrap(), parse("", &files()).unwrap());
        let bounds = |config: &Config| {
            let settings = &config.gateway;
            format!("{:?} {:?} {:?} {:?}", settings.timeouts, settings.limits, settings.health, config.keeping)
        };
        assert_eq!(bounds(&shown), bounds(&plain));
        assert_eq!((shown.admin, shown.reply.dialect), (plain.admin, plain.reply.dialect));
        let (shown, plain) = (shown.gateway.forwarding, plain.gateway.forwarding);
        assert_eq!((shown.x_forwarded, shown.keep_host, shown.via), (plain.x_forwarded, plain.keep_host, plain.via));
    }
}
