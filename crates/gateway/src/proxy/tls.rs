//! TLS in front, from PEM files, and towards `https://` upstreams.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, builderstates::WantsSchemes};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};

use crate::proxy::settings::TlsFiles;

/// Why TLS cannot be set up.
#[derive(Debug)]
pub enum TlsError {
    /// The file is missing, unreadable or not PEM.
    File(PathBuf, pem::Error),
    /// The file holds no certificate.
    Empty(PathBuf),
    /// The certificate and the key do not serve.
    Unfit(PathBuf, rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Empty(path) => write!(f, "{}: no certificate in it", path.display()),
            Self::Unfit(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for TlsError {}

/// How this gateway shows itself to clients.
pub fn server(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let TlsFiles { cert, key } = files;
    let chain = certificates(cert)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File(key.clone(), error))?;
    let unfit = |error| TlsError::Unfit(cert.clone(), error);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(unfit)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// How upstreams are reached over the network.
#[derive(Debug, Clone)]
pub(crate) struct Connectors {
    /// Offers HTTP/2 where TLS is spoken, unless that is turned off.
    pub(crate) usual: HttpsConnector<HttpConnector>,
    /// For what HTTP/1.1 alone can do.
    pub(crate) http1: HttpsConnector<HttpConnector>,
}

/// How upstreams are reached, and who vouches for those of `https://`.
pub(crate) fn connectors(ca: Option<&Path>, offers_http2: bool) -> Result<Connectors, TlsError> {
    let mut plain = HttpConnector::new();
    plain.enforce_http(false);
    plain.set_nodelay(true);
    let http1 = believing(ca)?.https_or_http().enable_http1().wrap_connector(plain.clone());
    let usual = if offers_http2 {
        believing(ca)?.https_or_http().enable_all_versions().wrap_connector(plain)
    } else {
        http1.clone()
    };
    Ok(Connectors { usual, http1 })
}

/// TLS towards upstreams for which these authorities vouch.
fn believing(ca: Option<&Path>) -> Result<HttpsConnectorBuilder<WantsSchemes>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = HttpsConnectorBuilder::new();
    let unfit = |error| TlsError::Unfit(ca.unwrap_or(Path::new("TLS")).to_owned(), error);
    Ok(match ca {
        None => builder.with_provider_and_webpki_roots(provider).map_err(unfit)?,
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(unfit)?;
            }
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(unfit)?
                .with_root_certificates(roots)
                .with_no_client_auth();
            builder.with_tls_config(config)
        }
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error| TlsError::File(path.to_owned(), error);
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    if certificates.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(certificates) }
}
