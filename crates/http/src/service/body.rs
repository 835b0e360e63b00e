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
    }
}

pin_project! {
    /// The application's body with nothing beside it is as large as that body, where it holds a reference or a box: then the
    /// response is handed on without a copy. What is rarer is boxed.
    #[derive(Debug)]
    #[project = InnerProjection]
    enum Inner<B> {
        Application { #[pin] body: B },
        Boxed { boxed: Pin<Box<Boxed<B>>> },
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = BoxedProjection]
    enum Boxed<B> {
        Counted { #[pin] body: B, permits: Permits },
        Refusal { text: Option<Bytes> },
    }
}

impl<B> LimitedBody<B> {
    /// The body of a request under no bound on concurrency.
    #[inline]
    pub(crate) const fn alone(body: B) -> Self {
        Self { inner: Inner::Application { body } }
    }

    /// A body with its request's places.
    pub(crate) fn counted(body: B, permits: Permits) -> Self {
        if permits.is_empty() {
            return Self::alone(body);
        }
        Self { inner: Inner::Boxed { boxed: Box::pin(Boxed::Counted { body, permits }) } }
    }

    pub(crate) fn refusal(text: Bytes) -> Self {
        let text = Some(text).filter(|text| !text.is_empty());
        Self { inner: Inner::Boxed { boxed: Box::pin(Boxed::Refusal { text }) } }
    }
}

impl<B: Body<Data = Bytes>> Body for LimitedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().inner.project() {
            InnerProjection::Application { body } => body.poll_frame(cx),
            InnerProjection::Boxed { boxed } => match boxed.as_mut().project() {
                BoxedProjection::Counted { body, permits } => {
                    let frame = body.poll_frame(cx);
                    if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
                        permits.clear();
                    }
                    frame
                }
                BoxedProjection::Refusal { text } => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Application { body } => body.is_end_stream(),
            Inner::Boxed { boxed } => match boxed.as_ref().get_ref() {
                Boxed::Counted { body, .. } => body.is_end_stream(),
                Boxed::Refusal { text } => text.is_none(),
            },
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Application { body } => body.size_hint(),
            Inner::Boxed { boxed } => match boxed.as_ref().get_ref() {
                Boxed::Counted { body, .. } => body.size_hint(),
                Boxed::Refusal { text } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_alone_is_no_larger_than_the_applications() {
        type Dyn = Pin<Box<dyn Body<Data = Bytes, Error = std::io::Error> + Send>>;
        assert_eq!(size_of::<LimitedBody<Dyn>>(), size_of::<Dyn>());
    }
}
