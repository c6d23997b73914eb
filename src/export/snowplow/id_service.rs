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
    /// The same, without saying who asks: that tells the service nothing about those who may be known later.
    asked_anonymously: OnceCell<()>,
}

impl IdService {
    pub(super) fn before(
        url: &str,
        inner: Arc<dyn HttpClient>,
        speaks_https: bool,
    ) -> Result<Arc<dyn HttpClient>, BuildError> {
        // One behind the host belongs to an address in the query.
        let host = url.find("://").filter(|at| !url[..*at].contains(['/', '?'])).map_or(0, |at| at + 3);
        let (address, path) = url.split_at(url[host..].find(['/', '?']).map_or(url.len(), |at| host + at));
        let endpoint = Endpoint::parse("with_id_service", address)?;
        if !speaks_https {
            endpoint.check_tls()?;
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let url = endpoint.uri("with_id_service", &path)?;
        Ok(Arc::new(Self { url, inner, asked: OnceCell::new(), asked_anonymously: OnceCell::new() }))
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
            let anonymous = request.headers().contains_key(ANONYMOUS);
            if !self.asked.initialized() {
                let asked = if anonymous { &self.asked_anonymously } else { &self.asked };
                asked.get_or_try_init(|| self.ask(anonymous)).await?;
            }
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

    /// Keeps what was asked, and whether anonymously.
    #[derive(Debug, Default)]
    struct Asked(crate::sync::Mutex<Vec<(String, bool)>>);

    impl HttpClient for Asked {
        fn send_bytes<'a, 'b>(
            &'a self,
            request: Request<Bytes>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            self.0.lock().push((request.uri().to_string(), request.headers().contains_key(ANONYMOUS)));
            Box::pin(std::future::ready(Ok(Response::new(Bytes::new()))))
        }
    }

    /// What a service is asked before this request.
    fn asked(service: &str, request: Request<Bytes>) -> (String, bool) {
        let client = Arc::new(Asked::default());
        let service = IdService::before(service, Arc::clone(&client) as _, true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(service.send_bytes(request)).unwrap();
        client.0.lock().swap_remove(0)
    }

    #[test]
    fn a_service_is_asked_at_the_very_path_that_was_given() {
        for (given, expected) in [
            ("http://id.test", "http://id.test/"),
            ("http://id.test?x=1", "http://id.test/?x=1"),
            ("http://id.test/identify/", "http://id.test/identify/"),
            ("http://id.test/a/identify?to=http://b/", "http://id.test/a/identify?to=http://b/"),
            ("id.test", "https://id.test/"),
            ("id.test:8080/identify", "https://id.test:8080/identify"),
            ("id.test/identify?to=http://b/", "https://id.test/identify?to=http://b/"),
        ] {
            assert_eq!(asked(given, Request::new(Bytes::new())).0, expected, "{given}");
        }
    }

    #[test]
    fn who_is_anonymous_to_the_collector_is_anonymous_to_the_service() {
        for anonymous in [true, false] {
            let mut request = Request::new(Bytes::new());
            if anonymous {
                request.headers_mut().insert(ANONYMOUS, http::HeaderValue::from_static("*"));
            }
            assert_eq!(asked("http://id.test/id", request), ("http://id.test/id".to_owned(), anonymous));
        }
    }

    #[test]
    fn a_service_that_was_asked_anonymously_is_asked_again_by_name_but_not_the_other_way_round() {
        for (requests, expected) in [
            ([true, true, false, false, true], &["/id true", "/", "/", "/id false", "/", "/", "/"][..]),
            ([false, true, true, false, true], &["/id false", "/", "/", "/", "/", "/"]),
        ] {
            let client = Arc::new(Asked::default());
            let service = IdService::before("http://id.test/id", Arc::clone(&client) as _, true).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for anonymous in requests {
                let mut request = Request::new(Bytes::new());
                *request.uri_mut() = http::Uri::from_static("http://id.test/");
                if anonymous {
                    request.headers_mut().insert(ANONYMOUS, http::HeaderValue::from_static("*"));
                }
                runtime.block_on(service.send_bytes(request)).unwrap();
            }
            let told = |(url, anonymous): (String, bool)| match url.as_str() {
                "http://id.test/" => "/".to_owned(),
                _ => format!("/id {anonymous}"),
            };
            let asked: Vec<_> = std::mem::take(&mut *client.0.lock()).into_iter().map(told).collect();
            assert_eq!(asked, expected);
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
