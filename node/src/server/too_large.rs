//! Gives tonic's refusal of a message above the limit the detail that all errors of the API have.
//!
//! tonic decodes a call's message before the service sees it, and refuses one above the limit with words
//! alone.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::{Code, Status};

/// A service whose refusals have details.
#[derive(Clone, Debug)]
pub(super) struct WithDetails<S>(pub(super) S);

impl<S: NamedService> NamedService for WithDetails<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for WithDetails<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let response = answer.await?;
            Ok(match Status::from_header_map(response.headers()) {
                // The API's own errors of this code have details.
                Some(status)
                    if status.code() == Code::OutOfRange && status.details().is_empty() =>
                {
                    super::too_large(status.message()).into_status().into_http()
                }
                Some(_) | None => response,
            })
        })
    }
}
