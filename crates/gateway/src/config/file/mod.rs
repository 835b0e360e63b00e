//! Text to [`Config`], or all that is wrong with the text.
//!
//! It goes from [`node`] (a tree that knows its places) through [`item`] (reading it without giving up at the first
//! mistake) to the sections: [`client`], [`gateway`], [`table`], [`answer`], [`policy`]. [`explain`] goes the other
//! way, for people.

mod answer;
mod client;
mod explain;
mod gateway;
mod item;
mod node;
mod policy;
mod problem;
mod redis;
mod routes;
mod table;
mod units;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};

use tollgate_http::{LimiterConfig, TierMap, TierMapBuilder};

use self::answer::Reply;
use self::client::Client;
use self::item::{Item, Problems, Table};
pub use self::policy::PolicyConfig;
pub use self::problem::Problem;
use self::table::TableConfig;
use crate::proxy::settings::{Settings as GatewaySettings, TlsFiles};
use crate::values::admin_listen::AdminListen;
use crate::values::fleet_settings::FleetSettings;

/// Where the gateway listens unless told otherwise: to this machine alone.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));

/// A file, understood.
#[derive(Debug, Clone)]
pub struct Config {
    pub limits: LimiterConfig,
    pub gateway: GatewaySettings,
    /// Where the admin page is, if anywhere.
    pub(crate) admin: AdminListen,
    /// Where the control socket is, if anywhere.
    pub(crate) control: Option<PathBuf>,
    pub(crate) client: Client,
    pub(crate) table_config: TableConfig,
    /// The servers of policies with `store: redis`.
    pub(crate) redis: Option<FleetSettings>,
    pub(crate) reply: Reply,
    /// The policies of `limits`, as they can be told of.
    pub plans: Vec<PolicyConfig>,
}

/// The files that a configuration names: where they are, and whether they are what they should be.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    pub folder: &'a Path,
    pub certificate: fn(&TlsFiles) -> Result<(), String>,
    pub authorities: fn(&Path) -> Result<(), String>,
    pub secret: fn(&Path) -> Result<Vec<u8>, String>,
    pub tiers: fn(&Path, TierMapBuilder) -> Result<TierMap, String>,
}

impl Config {
    /// The files that say which key is in which tier.
    pub(crate) fn tier_files(&self) -> Vec<PathBuf> {
        let sources = self.plans.iter().flat_map(|plan| &plan.tiers).map(|tiers| &tiers.by);
        sources.filter_map(|by| by.file().map(Path::to_owned)).collect()
    }
}

/// Understands `text`, or says all that is wrong with it.
pub fn parse(text: &str, files: &Files<'_>) -> Result<Config, Vec<Problem>> {
    let root = node::parse(text).map_err(|problem| vec![problem])?;
    let problems = Problems::default();
    let item = Item::root(&root, &problems);
    let read = item.table(|table| (read(table, files), table.has("policies")));
    // An empty file, or half of one, has no mistake in it, and in force it would be the end of all limits.
    if item.is_fine() && read.as_ref().is_some_and(|(_, has_policies)| !has_policies) {
        item.refuse("`policies` is missing, so this may be half of a file; to limit nothing, write `policies: []`");
    }
    let config = read.map(|(config, _)| config);
    let problems = problems.into_sorted();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

fn read(table: &mut Table<'_, '_>, files: &Files<'_>) -> Config {
    let client = table.get("client").and_then(|item| item.table(client::read)).unwrap_or_default();
    let mut gateway = gateway::read(table, files, client.trusted.clone());
    let mut admin = AdminListen::default();
    table.set("admin", &mut admin, |item| {
        let choice = item.parse()?;
        if let AdminListen::At(addr) = choice
            && addr.port() != 0
            && gateway.listeners.iter().any(|listen| listen.addr.net() == Some(addr))
        {
            item.refuse(format_args!("{addr} is already listened on"));
        }
        Some(choice)
    });
    gateway.grouping = client.grouping;
    let mut control = None;
    table.set("control", &mut control, |item| gateway::control(&item, files));
    let table_config = table.get("limiter").and_then(|item| item.table(table::read)).unwrap_or_default();
    let reply = table.get("answer").and_then(|item| item.table(answer::read)).unwrap_or_default();
    let mut limits = LimiterConfig::new()
        .client(client.address.clone())
        .grouping(client.grouping)
        .capacity(table_config.capacity)
        .on_full(table_config.on_full)
        .show_keys(table_config.shows_keys)
        .watch_use(admin != AdminListen::Off)
        .tell_standing(gateway.access_log.is_some())
        .ignore_path_case(table_config.ignores_path_case)
        .answer(table.item().accept(reply.answer()).unwrap_or_default());
    if let Some(shared) = &table_config.shared {
        limits = limits.shared_at(shared.settings());
    }
    let redis_item = table.get("redis");
    let redis = redis_item.as_ref().and_then(|item| item.table(|table| redis::read(table, files))?);
    let policies = table.get("policies");
    if let Some(item) = policies.as_ref().filter(|item| item.is_nothing()) {
        item.refuse("this is empty; to limit nothing, write `policies: []`");
    }
    let policies = policies.filter(|item| !item.is_nothing());
    let plans = policies.as_ref().map(|item| policy::read_all(item, files, client.grouping)).unwrap_or_default();
    if let Some(item) = policies {
        for policy in plans.iter().filter_map(|plan| item.accept(plan.policy())) {
            limits = limits.policy(policy);
        }
        policy::check_stores(&item, &plans, redis_item.is_some(), redis.as_ref().and_then(|redis| redis.nodes));
        // What each of them says is right; whether they can hold together is for the limiter to say.
        if table.item().is_fine() {
            item.accept(policy::check(limits.clone()));
        }
    }
    Config { limits, gateway, admin, control, client, table_config, redis, reply, plans }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../tollgate.example.yaml");

    /// As if every file were there and right.
    fn files() -> Files<'static> {
        Files {
            folder: Path::new(""),
            certificate: |_| Ok(()),
            authorities: |_| Ok(()),
            secret: |_| Ok(vec![7; 32]),
            tiers: |_, map| Ok(map.build()),
        }
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
            ![
                "    proxy_protocol:",
                "  trusted: [10.0.0.0/8, 192",
                "  # shared: /run/tollgate/table",
                "    charge: {only_on",
                "    tiers: {by: header:x-plan",
            ]
            .iter()
            .any(|start| line.starts_with(start))
        };
        let uncomment = |line: &str| {
            let is_key = [
                "# tls:",
                "# upstream_ca:",
                "# hops:",
                "# shared:",
                "# redis:",
                "# store:",
                "# on_outage:",
                "# leased:",
                "# charge:",
                "# cors:",
                "# path:",
                "# fields:",
                "#   request:",
                "#   response:",
                "# own_bodies:",
                "# drain:",
                "# control:",
                "# tiers:",
            ]
            .iter()
            .any(|key| line.trim_start().starts_with(key));
            if is_key { line.replacen("# ", "", 1) } else { line.to_owned() }
        };
        text.lines().filter(is_replaced).map(uncomment).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_defaults_in_the_example_are_those_of_the_program() {
        let (shown, plain) = (parse(EXAMPLE, &files()).unwrap(), parse("policies: []", &files()).unwrap());
        let bounds = |config: &Config| {
            let settings = &config.gateway;
            format!("{:?} {:?} {:?} {:?}", settings.timeouts, settings.limits, settings.health, config.table_config)
        };
        assert_eq!(bounds(&shown), bounds(&plain));
        assert_eq!((shown.admin, plain.admin), (AdminListen::At(AdminListen::DEFAULT_ADDR), AdminListen::Default));
        assert_eq!(shown.reply.dialect, plain.reply.dialect);
        let (shown, plain) = (shown.gateway.forwarding, plain.gateway.forwarding);
        assert_eq!((shown.x_forwarded, shown.keep_host, shown.via), (plain.x_forwarded, plain.keep_host, plain.via));
        assert_eq!(shown.underscores, plain.underscores);
    }
}
