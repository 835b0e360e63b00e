//! What a thread of the gateway serves.

use std::error::Error as StdError;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::proxy::client_body::ClientBody;

/// The error of a service or of a body.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// A service that answers HTTP requests on one thread, and each of them with a clone of itself.
pub(crate) trait HttpService:
    Service<Request<ClientBody>, Response = Response<Self::ResponseBody>, Error: Into<BoxError> + 'static> + Clone + 'static
{
    type ResponseBody: Body<Data = Bytes, Error: Into<BoxError>> + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request<ClientBody>, Response = Response<B>, Error: Into<BoxError> + 'static> + Clone + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    type ResponseBody = B;
}
