//! A Pingora proxy that asks the engine before it asks the upstream.
//!
//!     tollgate-pingora LISTEN UPSTREAM QUOTA      tollgate-pingora 127.0.0.1:8080 127.0.0.1:8000 100/minute
//!
//! One bucket for each client address, an IPv6 client being its /64. What is refused is answered here; the upstream never
//! hears of it. `ci/pingora.sh` builds and tries it.

mod client;
mod fields;

use std::net::SocketAddr;
use std::process::ExitCode;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use tollgate::{Limiter, Quota, Report, Verdict};

struct Gate {
    limiter: Limiter,
    quota: Quota,
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Gate {
    /// What the engine said, for the fields of the answer; `None` until it was asked.
    type CTX = Option<Report>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        let address = session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip);
        // Who comes without an address, by a Unix socket, shares one bucket.
        let report = self.limiter.check(&address.map(client::key)).report();
        *ctx = Some(report);
        if report.verdict == Verdict::Allowed {
            return Ok(false);
        }

        let body = Bytes::from_static(b"{\"title\":\"Too Many Requests\",\"status\":429}\n");
        let mut answer = ResponseHeader::build(429, Some(5))?;
        answer.insert_header("Content-Type", "application/problem+json")?;
        answer.insert_header("Content-Length", body.len())?;
        fields::insert(&mut answer, &self.quota, &report)?;
        session.write_response_header(Box::new(answer), false).await?;
        session.write_response_body(Some(body), true).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }

    async fn response_filter(&self, _: &mut Session, answer: &mut ResponseHeader, ctx: &mut Self::CTX) -> Result<()> {
        match ctx {
            Some(report) => fields::insert(answer, &self.quota, report),
            None => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match gate(&arguments) {
        Ok((listen, gate)) => serve(&listen, gate),
        Err(error) => {
            eprintln!("tollgate-pingora: {error}");
            ExitCode::from(2)
        }
    }
}

fn gate(arguments: &[String]) -> Result<(String, Gate), Box<dyn std::error::Error>> {
    let [listen, upstream, quota] = arguments else { return Err("expected LISTEN UPSTREAM QUOTA".into()) };
    // Pingora would panic.
    let listen: SocketAddr = listen.parse().map_err(|_| format!("`{listen}` is no address with a port"))?;
    let upstream = upstream.parse().map_err(|_| format!("`{upstream}` is no address with a port"))?;
    let quota: Quota = quota.parse()?;
    let limiter = Limiter::builder(quota).capacity(100_000).build()?;
    Ok((listen.to_string(), Gate { limiter, quota, upstream }))
}

fn serve(listen: &str, gate: Gate) -> ! {
    let mut server = Server::new_with_opt_and_conf(None, ServerConf { threads: 2, ..ServerConf::default() });
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, gate);
    proxy.add_tcp(listen);
    server.add_service(proxy);
    server.run_forever()
}
