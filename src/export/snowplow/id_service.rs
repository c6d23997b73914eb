//! A service that is asked once before the first request: the tracker's `idService`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::BuildError;
use crate::export::endpoint::Endpoint;
use crate::export::http::{Bytes, HttpClient, HttpError, Request, Response};

use super::protocol::ANONYMOUS;

/// A client that asks the service first. Until it has answered with a 2xx every request fails, and its events wait.
pub(super) struct IdService {
    url: http::Uri,
    inner: Arc<dyn HttpClient>,
    asked: AtomicBool,
}

impl IdService {
    pub(super) fn before(
        url: &str,
        inner: Arc<dyn HttpClient>,
        speaks_https: bool,
    ) -> Result<Arc<dyn HttpClient>, BuildError> {
        let (address, path) = match url.find("://").and_then(|at| url[at + 3..].find(['/', '?']).map(|it| at + 3 + it))
        {
            Some(at) => url.split_at(at),
            None => (url, ""),
        };
        let endpoint = Endpoint::parse("with_id_service", address)?;
        if !speaks_https {
            endpoint.check_tls()?;
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let url = endpoint.uri("with_id_service", &path)?;
        Ok(Arc::new(Self { url, inner, asked: AtomicBool::new(false) }))
    }

    async fn ask(&self, anonymous: bool) -> Result<(), HttpError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.url.clone();
        if anonymous {
            request.headers_mut().insert(ANONYMOUS, http::HeaderValue::from_static("*"));
        }
        let status = self.inner.send_bytes(request).await?.status();
        if !status.is_success() {
            return Err(format!("the id service answered {status}").into());
        }
        self.asked.store(true, Ordering::Release);
        Ok(())
    }
}

impl fmt::Debug for IdService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdService")
    }
}

impl HttpClient for IdService {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            if !self.asked.load(Ordering::Acquire) {
                self.ask(request.headers().contains_key(ANONYMOUS)).await?;
            }
            self.inner.send_bytes(request).await
        })
    }
}
