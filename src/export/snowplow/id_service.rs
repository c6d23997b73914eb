//! A service that is asked once before the first request: the tracker's `idService`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::error::BuildError;
use crate::export::endpoint::Endpoint;
use crate::export::http::{Bytes, HttpClient, HttpError, Request, Response};

use super::protocol::ANONYMOUS;

/// A client that asks the service first. Until it has answered with a 2xx every request fails, and its events wait.
pub(super) struct IdService {
    url: http::Uri,
    inner: Arc<dyn HttpClient>,
    /// Set by its first 2xx. Several requests may be under way at first: one of them asks, and the others wait for it.
    asked: OnceCell<()>,
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
        Ok(Arc::new(Self { url, inner, asked: OnceCell::new() }))
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
            self.asked.get_or_try_init(|| self.ask(request.headers().contains_key(ANONYMOUS))).await?;
            self.inner.send_bytes(request).await
        })
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Answers everything, but not at once, and counts what goes to the service.
    #[derive(Debug, Default)]
    struct Slow(AtomicU64);

    impl HttpClient for Slow {
        fn send_bytes<'a, 'b>(
            &'a self,
            request: Request<Bytes>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async move {
                self.0.fetch_add(u64::from(request.uri().path() == "/id"), Ordering::AcqRel);
                tokio::task::yield_now().await;
                Ok(Response::new(Bytes::new()))
            })
        }
    }

    #[test]
    fn requests_that_are_made_at_once_ask_the_service_once() {
        let slow = Arc::new(Slow::default());
        let service = IdService::before("http://localhost/id", Arc::clone(&slow) as _, false).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let request = || service.send_bytes(Request::new(Bytes::new()));
        let (one, other) = runtime.block_on(async { tokio::join!(request(), request()) });
        assert!(one.is_ok() && other.is_ok());
        assert_eq!(slow.0.load(Ordering::Acquire), 1);
    }
}
