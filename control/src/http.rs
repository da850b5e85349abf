//! `/metrics`, `/healthz`, `/readyz`, for machines that watch the appliance.

use crate::metrics::Exporter;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;

/// The format that `prometheus::TextEncoder` writes.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Takes the address, before anything else is started.
///
/// # Errors
/// One line that says which key or option to change.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another program listens there".to_owned(),
            _ => error.to_string(),
        };
        format!(
            "cannot serve /metrics on {address}: {why}; choose another address with --metrics or \
             control.metrics_listen"
        )
    })
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, exporter: Arc<Exporter>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(exporter);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("/metrics is no longer served: {error}");
    }
}

async fn metrics(State(exporter): State<Arc<Exporter>>) -> Response {
    match exporter.text() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}

/// This process is alive.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Clients are being served.
async fn readyz(State(exporter): State<Arc<Exporter>>) -> Response {
    match exporter.watch().readiness(Instant::now()) {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}
