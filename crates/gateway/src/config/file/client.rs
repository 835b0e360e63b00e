//! The keys that say who a client is.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tollgate_http::client::{AddressSource, ClientAddress, Grouping, TrustedProxies};

use super::gateway::networks;
use super::item::Table;

/// Who a client is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    pub(crate) address: ClientAddress,
    pub(crate) grouping: Grouping,
    /// The proxies that are believed, for what else they say.
    pub(crate) trusted: Vec<IpNet>,
}

pub(crate) fn read(table: &mut Table<'_, '_>) -> Client {
    let mut client = Client::default();
    let (from, trusted, hops) = (table.get("from"), table.get("trusted"), table.get("hops"));
    let source = from.as_ref().map_or(Some(AddressSource::Peer), |item| item.parse());
    let proxies = match (&trusted, &hops) {
        (Some(_), Some(hops)) => {
            hops.refuse("`trusted` names the proxies already; give either their networks or their number");
            None
        }
        (Some(item), None) => {
            client.trusted = networks(item);
            item.accept(TrustedProxies::networks(client.trusted.iter().copied()))
        }
        (None, Some(hops)) => {
            if from.is_none() {
                hops.refuse("a number of proxies says nothing without `from`, such as x-forwarded-for");
            }
            // With a number of hops, every peer is one of them.
            client.trusted = vec![Ipv4Net::default().into(), Ipv6Net::default().into()];
            hops.number(1..=u8::MAX).and_then(|number| hops.accept(TrustedProxies::hops(number)))
        }
        (None, None) => Some(TrustedProxies::nobody()),
    };
    if let (Some(source), Some(proxies)) = (source, proxies) {
        let item = from.as_ref().unwrap_or_else(|| table.item());
        client.address = item.accept(ClientAddress::new(source, proxies)).unwrap_or_default();
    }
    let mut v4 = client.grouping.v4_prefix();
    let mut v6 = client.grouping.v6_prefix();
    table.set("ipv4_prefix", &mut v4, |item| item.number(1..=32));
    table.set("ipv6_prefix", &mut v6, |item| item.number(1..=128));
    client.grouping = table.item().accept(Grouping::new(v4, v6)).unwrap_or_default();
    client
}
