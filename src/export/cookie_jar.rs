//! A client that keeps the cookies of the collector that it talks to.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::cookies::{Cookies, is_anonymous};
use super::http::{Bytes, HttpClient, HttpError, Request, Response};
use crate::clock::Source;
use crate::sync::Mutex;

/// Adds the cookies of earlier replies to each request, but to those that ask for anonymity: they carry none and set none.
pub(crate) struct CookieJar {
    inner: Arc<dyn HttpClient>,
    source: Source,
    cookies: Mutex<Cookies>,
}

impl CookieJar {
    pub(crate) fn around(inner: Arc<dyn HttpClient>, source: Source) -> Arc<dyn HttpClient> {
        Arc::new(Self { inner, source, cookies: Mutex::default() })
    }
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieJar")
    }
}

impl HttpClient for CookieJar {
    fn send_bytes<'a, 'b>(
        &'a self,
        mut request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        if is_anonymous(request.headers()) {
            return self.inner.send_bytes(request);
        }
        Box::pin(async move {
            let uri = request.uri().clone();
            self.cookies.lock().add_to(&uri, request.headers_mut(), self.source.moment().wall);
            let response = self.inner.send_bytes(request).await?;
            self.cookies.lock().learn(&uri, response.headers(), self.source.moment().wall);
            Ok(response)
        })
    }
}
