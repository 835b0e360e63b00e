//! The keys that name the servers of a fleet.

use std::time::Duration;

use tollgate_http::fleet::FleetBuilder;

use super::Files;
use super::item::{Item, Table};
use crate::values::fleet_settings::FleetSettings;

pub(crate) fn read(table: &mut Table<'_, '_>, files: &Files<'_>) -> Option<FleetSettings> {
    let texts = |item: &Item<'_>| -> Vec<String> {
        item.items().iter().filter_map(Item::text).map(ToOwned::to_owned).collect()
    };
    let urls = table.require("url", "the server, such as redis://10.0.0.5/, or a list of some nodes of a cluster");
    let urls = urls.as_ref().map(texts);
    let secret = table.require("secret_file", "a file with 16 bytes or more that are the same on all gateways");
    let secret = secret.and_then(|item| {
        let path = files.folder.join(item.text()?);
        let mut bytes = item.accept((files.secret)(&path))?;
        // What editors add; of a file without any it may take a byte, and on all gateways the same.
        while let Some(b'\n' | b'\r') = bytes.last() {
            bytes.pop();
        }
        let least = FleetBuilder::MIN_SECRET;
        if bytes.len() < least {
            item.refuse(format_args!(
                "{} holds {} bytes; a secret needs at least {least}, such as from `head -c 32 /dev/urandom`",
                path.display(),
                bytes.len()
            ));
            return None;
        }
        Some((path, bytes))
    });
    let (mut sentinels, mut primary) = (Vec::new(), None);
    table.set("sentinels", &mut sentinels, |item| Some(texts(&item)));
    table.set("primary", &mut primary, |item| item.text().map(|name| Some(name.to_owned())));
    let mut deadline = FleetBuilder::DEFAULT_DEADLINE;
    table.set("deadline", &mut deadline, |item| {
        let bounds = FleetBuilder::MIN_DEADLINE..=FleetBuilder::MAX_DEADLINE;
        let deadline: Duration = item.duration()?;
        item.accept(match bounds.contains(&deadline) {
            true => Ok(deadline),
            false => Err(format!("expected from {:?} to {:?}, got {deadline:?}", bounds.start(), bounds.end())),
        })
    });
    let mut nodes = None;
    table.set("nodes", &mut nodes, |item| item.number(1..=1_000_000).map(Some));
    if sentinels.is_empty() != primary.is_none() {
        table.item().refuse("`sentinels` and `primary` belong together: who is asked, and for whom");
        return None;
    }
    let (urls, (secret_file, secret)) = (urls?, secret?);
    if primary.is_some() && urls.len() != 1 {
        table.item().refuse("with sentinels, `url` is one: how the primary is talked to; its host does not matter");
        return None;
    }
    let settings = FleetSettings { urls, sentinels, primary, secret_file, secret, deadline, nodes };
    table.item().accept(settings.builder().check())?;
    Some(settings)
}
