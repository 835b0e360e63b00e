//! The body of a response that has passed the limiter.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::decision::admitted::Permits;

pin_project! {
    /// The body of a response that has passed the limiter: the application's own, or what a refusal says.
    ///
    /// Until it ends or is dropped, its request counts as in flight.
    #[derive(Debug)]
    pub struct LimitedBody<B> {
        #[pin]
        inner: Inner<B>,
        permits: Permits,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = InnerProjection]
    enum Inner<B> {
        Application { #[pin] body: B },
        Refusal { text: Option<Bytes> },
    }
}

impl<B> LimitedBody<B> {
    pub(crate) const fn new(body: B, permits: Permits) -> Self {
        Self { inner: Inner::Application { body }, permits }
    }

    pub(crate) fn refusal(text: Bytes) -> Self {
        Self { inner: Inner::Refusal { text: Some(text).filter(|text| !text.is_empty()) }, permits: Permits::new() }
    }
}

impl<B: Body<Data = Bytes>> Body for LimitedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = match this.inner.project() {
            InnerProjection::Application { body } => body.poll_frame(cx),
            InnerProjection::Refusal { text } => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        };
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            this.permits.clear();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Application { body } => body.is_end_stream(),
            Inner::Refusal { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Application { body } => body.size_hint(),
            Inner::Refusal { text } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}
