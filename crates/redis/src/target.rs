//! Where a server is: at an address, or wherever the sentinels say that the primary is.

use core::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError};

/// How a server is reached.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Fixed(ConnectionInfo),
    Watched {
        sentinels: Vec<ConnectionInfo>,
        primary: String,
        /// User, password, database and TLS of the primary; its address is not used.
        like: ConnectionInfo,
    },
}

/// With what redis-rs leaves off: no waiting for more to send, and an end to a connection whose other end is gone.
fn tuned(info: ConnectionInfo) -> ConnectionInfo {
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(5)).with_interval(Duration::from_secs(2));
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(Duration::from_secs(2));
    info.set_tcp_settings(settings)
}

/// An address as text: `redis://`, `rediss://` (TLS), `unix://`, with user, password and database.
pub(crate) fn read(address: &str) -> Result<ConnectionInfo, RedisError> {
    address.into_connection_info().map(tuned)
}

/// The same, elsewhere.
pub(crate) fn at(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let host = host.to_owned();
    let addr = match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(addr)
}

impl Target {
    /// Whether it may be elsewhere the next time.
    pub(crate) const fn is_watched(&self) -> bool {
        matches!(self, Self::Watched { .. })
    }

    /// How people know it, without user and password.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Fixed(info) => info.addr().to_string(),
            Self::Watched { sentinels, primary, .. } => {
                let sentinels: Vec<String> = sentinels.iter().map(|info| info.addr().to_string()).collect();
                format!("{primary} (sentinels {})", sentinels.join(", "))
            }
        }
    }

    /// Where it is now.
    pub(crate) async fn resolve(&self, within: Duration) -> Result<ConnectionInfo, RedisError> {
        let (sentinels, primary, like) = match self {
            Self::Fixed(info) => return Ok(info.clone()),
            Self::Watched { sentinels, primary, like } => (sentinels, primary, like),
        };
        let mut last = RedisError::from((ErrorKind::Client, "no sentinel was given"));
        for sentinel in sentinels {
            match ask(sentinel, primary, within / 2).await {
                Ok((host, port)) => return Ok(at(like, &host, port)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

async fn ask(sentinel: &ConnectionInfo, primary: &str, within: Duration) -> Result<(String, u16), RedisError> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(within)).set_response_timeout(Some(within));
    let mut redis = Client::open(sentinel.clone())?.get_multiplexed_async_connection_with_config(&config).await?;
    let answer: Option<(String, u16)> =
        redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(primary).query_async(&mut redis).await?;
    answer.ok_or_else(|| (ErrorKind::Client, "the sentinel does not know the primary").into())
}
