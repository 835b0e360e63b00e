//! TLS on both sides, and the PROXY protocol, which comes before it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::tool::{Front, PATIENCE, SHORT, front_with, mirror, settings};
use tollgate_gateway::proxy::settings::TlsFiles;

/// A certificate for `localhost`, in files of its own.
pub(crate) fn certificate() -> TlsFiles {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // Not where a machine keeps what is temporary: nobody takes keys away from there.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

async fn connect(addr: SocketAddr, cert: &Path, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let socket = TcpStream::connect(addr).await.unwrap();
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
}

#[tokio::test]
async fn http2_is_agreed_on_by_alpn() {
    let files = certificate();
    let front = front_with(mirror(), |settings| settings.listeners[0].tls = Some(files.clone()));
    let stream = connect(front.addr(), &files.cert, &[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/path").body(Empty::<Bytes>::new()).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let head = response.into_body().collect().await.unwrap().to_bytes();
    let head = String::from_utf8(head.to_vec()).unwrap().to_lowercase();
    assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
    assert!(head.contains("x-forwarded-host: localhost\r\n"), "{head}");
}

#[tokio::test]
async fn http1_is_spoken_to_clients_that_offer_nothing_else() {
    let files = certificate();
    let front = front_with(mirror(), |settings| settings.listeners[0].tls = Some(files.clone()));
    for alpn in [&[&b"http/1.1"[..]][..], &[]] {
        let mut stream = connect(front.addr(), &files.cert, alpn).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let _ = timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.to_lowercase().contains("x-forwarded-proto: https\r\n"), "{answer}");
    }
}

#[test]
fn a_handshake_that_does_not_come_is_given_up() {
    let files = certificate();
    let front = front_with(mirror(), |settings| {
        settings.listeners[0].tls = Some(files);
        settings.timeouts.handshake = SHORT;
    });
    let mut silent = front.client();
    assert!(silent.is_closed());
    let mut plain = front.client();
    plain.get("/");
    // What it gets is an alert of TLS, and the end.
    assert!(plain.head().is_none());
}

#[test]
fn files_that_do_not_serve_are_named() {
    let files = certificate();
    let swapped = TlsFiles { cert: files.key.clone(), key: files.cert.clone() };
    let missing = TlsFiles { cert: files.cert.with_file_name("none.pem"), key: files.key };
    for (tls, named) in [(swapped, "key.pem"), (missing, "none.pem")] {
        let mut settings = settings(&[]);
        settings.listeners[0].tls = Some(tls);
        let error = tollgate_gateway::proxy::gateway::Gateway::start(settings, &crate::tool::unlimited())
            .unwrap_err()
            .to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[tokio::test]
async fn an_upstream_is_reached_over_tls_if_its_certificate_holds() {
    let files = certificate();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(tollgate_gateway::proxy::tls::server(&files).unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // A gateway that does not trust the certificate breaks off.
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut head = [0; 2_048];
            let _ = stream.read(&mut head).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret").await.unwrap();
        }
    });
    let ask = |ca| async move {
        let mut settings = settings(&[]);
        settings.upstreams = vec![format!("https://localhost:{port}").parse().unwrap()];
        settings.upstream_ca = ca;
        // It would choose HTTP/2, and speaks HTTP/1.1.
        settings.upstream_http2 = false;
        let front = Front::start(settings);
        let mut client = front.client();
        tokio::task::spawn_blocking(move || {
            let _front = front;
            client.get("/");
            client.response()
        })
        .await
        .unwrap()
    };
    assert_eq!(ask(Some(files.cert)).await.body, "secret");
    ask(None).await.is_problem(502);
}

/// A gateway that expects a PROXY header from `network`.
fn behind_a_balancer(network: &str) -> Front {
    front_with(mirror(), |settings| settings.listeners[0].proxy_protocol = Some(vec![network.parse().unwrap()]))
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\x7f\x00\x00\x01\x12\x34\x00\x50";

#[test]
fn a_balancer_says_who_the_client_is() {
    let front = behind_a_balancer("127.0.0.0/8");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (header, client) in [
        (&b"PROXY TCP4 203.0.113.9 127.0.0.1 4660 80\r\n"[..], "203.0.113.9"),
        (b"PROXY TCP6 2001:db8::7 ::1 4660 80\r\n", "2001:db8::7"),
        (V2, "198.51.100.7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", "127.0.0.1"),
    ] {
        for step in [1, 1_000] {
            let mut conn = front.client();
            // Byte by byte, and then all at once together with the request.
            for piece in [header, request].concat().chunks(step) {
                conn.send(piece);
            }
            let head = conn.response().body.to_lowercase();
            assert!(head.contains(&format!("x-forwarded-for: {client}\r\n")), "{head}");
        }
    }
}

#[test]
fn strangers_and_those_without_a_header_are_not_served() {
    let front = behind_a_balancer("10.0.0.0/8");
    let mut stranger = front.client();
    stranger.send("PROXY TCP4 203.0.113.9 127.0.0.1 4660 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(stranger.is_closed());
    let front = behind_a_balancer("127.0.0.0/8");
    for nonsense in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 x y 1 2\r\n", "PROXY"] {
        let mut conn = front.client();
        conn.send(nonsense);
        conn.finish_sending();
        assert!(conn.is_closed(), "{nonsense}");
    }
}

#[test]
fn where_it_is_not_enabled_a_proxy_header_is_no_request() {
    let front = crate::tool::front(mirror());
    let mut conn = front.client();
    conn.send("PROXY TCP4 203.0.113.9 127.0.0.1 4660 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(conn.response().status, 400);
}
