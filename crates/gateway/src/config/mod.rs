//! The configuration file of `tollgate gateway`: one YAML file with everything.
//!
//! [`parse`] is pure: text to [`Config`], or all that is wrong with the text. It goes from [`node`] (a tree that knows
//! its places) through [`item`] (reading it without giving up at the first mistake) to the sections: [`gateway`],
//! [`client`], [`answer`], [`policy`]. [`load`] reads the file.

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod item;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod problem;
pub(crate) mod units;

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;

use tollgate::OnFull;
use tollgate_http::{Policy, Settings};

use self::client::Client;
use self::item::{Item, Problems, Table};
use self::policy::Plan;
use self::problem::Problem;
use crate::admin::Choice;
use crate::cli::GatewayArgs;
use crate::failure::Failure;
use crate::gateway::settings::Settings as GatewaySettings;

/// Where the gateway listens unless told otherwise: to this machine alone.
pub(crate) const DEFAULT_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));

/// A settings file is short; whatever is longer is something else.
const MAX_FILE: u64 = 1 << 20;

/// A file, understood.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) limits: Settings,
    pub(crate) gateway: GatewaySettings,
    /// Where the admin page is, if anywhere.
    pub(crate) admin: Choice,
    pub(crate) client: Client,
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
            admin: args.admin.unwrap_or_default(),
            client: Client::default(),
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
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| problem.in_file(path)).collect();
        Failure::Config(lines.join("\n"))
    })
}

/// Understands `text`, or says all that is wrong with it. Names of files in it are relative to `folder`.
pub(crate) fn parse(text: &str, folder: &Path) -> Result<Config, Vec<Problem>> {
    let root = node::parse(text).map_err(|problem| vec![problem])?;
    let problems = Problems::default();
    let config = Item::root(&root, &problems).table(|table| read(table, folder));
    let problems = problems.into_sorted();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

fn read(table: &mut Table<'_, '_>, folder: &Path) -> Config {
    let client = table.get("client").and_then(|item| item.table(client::read)).unwrap_or_default();
    let gateway = gateway::read(table, folder, client.trusted.clone());
    let mut admin = Choice::default();
    table.set("admin", &mut admin, |item| match item.text()? {
        "off" => Some(Choice::Off),
        _ => gateway::address(&item).map(Choice::At),
    });
    let mut limits = Settings::new().client(client.address.clone()).grouping(client.grouping);
    if let Some(limited) = table.get("limiter").and_then(|item| item.table(|table| limiter(table, limits.clone()))) {
        limits = limited;
    }
    if let Some(answer) = table.get("answer").and_then(|item| item.table(answer::read)) {
        limits = limits.answer(answer);
    }
    let policies = table.get("policies");
    let plans = policies.as_ref().map(policy::read_all).unwrap_or_default();
    for plan in &plans {
        if let Some(policy) = table.item().accept(plan.policy()) {
            limits = limits.policy(policy);
        }
    }
    Config { limits, gateway, admin, client, plans }
}

fn limiter(table: &mut Table<'_, '_>, mut limits: Settings) -> Settings {
    if let Some(capacity) = table.get("capacity").and_then(|item| item.number(1..=usize::MAX)) {
        limits = limits.capacity(capacity);
    }
    let choices =
        [("evict", OnFull::EvictNearestIdle), ("refuse", OnFull::RefuseNew), ("admit", OnFull::AdmitUntracked)];
    if let Some(on_full) = table.get("on_full").and_then(|item| item.choice(&choices)) {
        limits = limits.on_full(on_full);
    }
    if let Some(shows_keys) = table.get("show_keys").and_then(|item| item.flag()) {
        limits = limits.show_keys(shows_keys);
    }
    limits
}
