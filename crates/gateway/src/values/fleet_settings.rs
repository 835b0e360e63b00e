//! The servers that hold the limits of a fleet, as the file names them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tollgate_http::fleet::{Fleet, FleetBuilder};

/// Where the servers are, and what all gateways of a fleet know.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FleetSettings {
    /// One server; several are some nodes of a cluster.
    pub(crate) urls: Vec<String>,
    /// The sentinels, and the name under which they know the primary; then the one URL says how that is talked to.
    pub(crate) sentinels: Vec<String>,
    pub(crate) primary: Option<String>,
    pub(crate) secret_file: PathBuf,
    pub(crate) secret: Vec<u8>,
    pub(crate) deadline: Duration,
    pub(crate) nodes: Option<u64>,
}

impl FleetSettings {
    pub(crate) fn builder(&self) -> FleetBuilder {
        let builder = match (&self.primary, self.urls.as_slice()) {
            (Some(primary), [like, ..]) => Fleet::sentinel(self.sentinels.clone(), primary.clone(), like.clone()),
            (_, [only]) => Fleet::builder(only.clone()),
            (_, several) => Fleet::cluster(several.iter().cloned()),
        };
        let builder = builder.secret(&self.secret).deadline(self.deadline);
        self.nodes.map_or_else(|| builder.clone(), |nodes| builder.clone().nodes(nodes))
    }

    /// The servers for people.
    pub(crate) fn shown(&self) -> String {
        let all = |urls: &[String]| urls.iter().map(|url| without_password(url)).collect::<Vec<_>>().join(", ");
        match &self.primary {
            Some(primary) => format!("the primary that the sentinels {} call `{primary}`", all(&self.sentinels)),
            None if self.urls.len() > 1 => format!("the cluster of {}", all(&self.urls)),
            None => all(&self.urls),
        }
    }
}

/// A URL without who logs in, and without what a query may hold.
pub(crate) fn without_password(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        (None, Some((_, host))) => format!("***@{host}"),
        _ => url.to_owned(),
    }
}

/// Without passwords and the secret.
impl fmt::Debug for FleetSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetSettings")
            .field("servers", &self.shown())
            .field("deadline", &self.deadline)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
            ("rediss://tollgate:pw@host/", "rediss://***@host/"),
            ("redis://:p/w@w@host/", "redis://***@host/"),
            ("unix:///run/redis.sock?user=a&pass=pw", "unix:///run/redis.sock"),
            ("tollgate:pw@host", "***@host"),
        ] {
            assert_eq!(without_password(url), shown, "{url}");
        }
    }
}
