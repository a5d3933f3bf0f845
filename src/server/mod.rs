//! Metrics, health and status over HTTP. Reads only; nothing can be changed from here, and there is no password, which is
//! why it listens on this machine only unless the configuration says otherwise.
//!
//! | path | what |
//! |---|---|
//! | `/` | status for people |
//! | `/status` | the same as JSON ([`StatusReport`]) |
//! | `/metrics` | Prometheus |
//! | `/livez` | 200 while the process works |
//! | `/readyz` | 200 when every assigned partition is claimed and the destination answered lately; else 503 and why |

mod health;
mod page;
pub mod report;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::core::failure::Failure;
use crate::telemetry::metrics::Metrics;

pub use health::HealthHandle;
pub use report::{LaneStatus, PartitionStatus, SourceStatus, StatusReport, TableStatus};

/// Time that open requests are given when the server is stopped.
const GRACE: Duration = Duration::from_secs(1);

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Server {
    /// Listens on an address (port 0 takes a free one) and serves until `stop` is cancelled. A port that is taken is a
    /// failure that names the setting.
    pub async fn start(
        address: SocketAddr,
        health: HealthHandle,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address).await.map_err(|error| bind_failure(address, &error))?;
        let address = listener.local_addr().map_err(|error| bind_failure(address, &error))?;
        let router = router(health, metrics);
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let task = tokio::spawn(async move {
            if let Err(error) = serving.into_future().await {
                tracing::error!(%error, "the status server ended");
            }
        });
        Ok(Self { address, task, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it: no new requests, a moment for open ones, then the rest is cut off.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

fn bind_failure(address: SocketAddr, error: &std::io::Error) -> Failure {
    let remedy = "choose another address as server.listen, or \"off\" to serve nothing";
    let message = match error.kind() {
        std::io::ErrorKind::AddrInUse => format!("another process listens on {address} already; {remedy}"),
        std::io::ErrorKind::AddrNotAvailable => format!("{address} is not an address of this machine; {remedy}"),
        std::io::ErrorKind::PermissionDenied => format!("this user may not listen on {address}; {remedy}"),
        _ => format!("cannot listen on {address}: {error}; {remedy}"),
    };
    Failure::operator("server.listen", message)
}

#[derive(Clone)]
struct Shared {
    health: HealthHandle,
    metrics: Metrics,
}

fn router(health: HealthHandle, metrics: Metrics) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/status", get(status))
        .route("/metrics", get(metrics_page))
        .route("/livez", get(|| async { plain(StatusCode::OK, "ok\n".to_owned()) }))
        .route("/readyz", get(readyz))
        .with_state(Shared { health, metrics })
}

/// Content that names its type and is never kept by a cache.
fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response {
    const NO_SNIFF: (HeaderName, &str) = (axum::http::header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    (status, [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store"), NO_SNIFF], body).into_response()
}

fn plain(status: StatusCode, body: String) -> Response {
    reply(status, "text/plain; charset=utf-8", body)
}

async fn metrics_page(State(shared): State<Shared>) -> Response {
    reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", shared.metrics.render())
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let reasons = shared.health.not_ready();
    if reasons.is_empty() {
        return plain(StatusCode::OK, "ready\n".to_owned());
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, reasons.iter().map(|reason| format!("{reason}\n")).collect())
}

async fn status(State(shared): State<Shared>) -> Response {
    match serde_json::to_string(&shared.health.status()) {
        Ok(body) => reply(StatusCode::OK, "application/json", body),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("the status cannot be written: {error}\n")),
    }
}

async fn page(State(shared): State<Shared>) -> Response {
    let body = page::render(&shared.health.status());
    let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", body);
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, axum::http::HeaderValue::from_static(policy));
    response
}

#[cfg(test)]
mod tests;
