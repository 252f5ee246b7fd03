//! The paths of the endpoint, and the bounds of its connections.

use std::future::Future as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Sleep;

use super::Phase;
use super::courier::{Answers, Asked};
use super::exposition::CONTENT_TYPE;
use super::{health, metrics};

/// Connections served at a time; more wait in the kernel.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// A connection on which nothing happens for this long is closed. Longer than the usual time between two scrapes.
const IDLE_MAX: Duration = Duration::from_secs(180);

const INDEX: &str = "\
/metrics          counters and gauges in Prometheus' text format
/metrics/clients  what clients push of themselves, in the same format
/healthz          200 while every shard answers
/readyz           200 while clients are served and their records are taken
";

/// What the handlers work with.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) requests: mpsc::Sender<Asked>,
    /// When the process started, by the monotonic clock.
    pub(super) started: Instant,
    /// The same moment by the wall clock.
    pub(super) started_at: SystemTime,
}

impl Site {
    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The answers of all shards; none before there are shards.
    pub(super) async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Answers<T>>) -> Asked) -> Answers<T> {
        self.ask_for(ask).await
    }

    /// The courier's answer; nothing if it is gone.
    async fn ask_for<T: Default>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Asked) -> T {
        let (sender, answers) = oneshot::channel();
        match self.requests.send(ask(sender)).await {
            Ok(()) => answers.await.unwrap_or_default(),
            Err(_) => T::default(),
        }
    }
}

/// Serves until the node has stopped.
pub(super) async fn serve(listeners: Vec<TcpListener>, site: Site) {
    let mut phase = site.phase.clone();
    let router = Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/metrics", get(metrics_page))
        .route("/metrics/clients", get(clients_page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(site);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    for listener in listeners {
        match adopt(listener) {
            Ok(listener) => {
                let listener = Bounded { listener, places: Arc::clone(&places) };
                let router = router.clone();
                tokio::spawn(async move { axum::serve(listener, router).await });
            }
            Err(error) => tracing::error!(%error, "the admin endpoint cannot serve one of its addresses"),
        }
    }
    // An error says that nobody is left to say more: the node's own thread is gone.
    let _ = phase.wait_for(|phase| *phase == Phase::Stopped).await;
}

fn adopt(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

async fn metrics_page(State(site): State<Site>) -> impl IntoResponse {
    let (reports, lags) = tokio::join!(site.ask(Asked::Reports), site.ask(Asked::Lags));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics::page(&reports, &lags, &metrics::Process::of(&site)))
}

async fn clients_page(State(site): State<Site>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], site.ask_for(Asked::Clients).await)
}

async fn healthz(State(site): State<Site>) -> impl IntoResponse {
    let shards = site.ask(Asked::Health).await;
    verdict(health::healthz(&shards), &health::troubles(&shards))
}

async fn readyz(State(site): State<Site>) -> impl IntoResponse {
    let shards = site.ask(Asked::Health).await;
    verdict(health::readyz(site.phase(), &shards), &health::troubles(&shards))
}

/// 200, or 503 with a line for each reason; then a line for each trouble.
fn verdict(reasons: Vec<String>, troubles: &[String]) -> (StatusCode, String) {
    let (status, mut lines) = match reasons.is_empty() {
        true => (StatusCode::OK, vec!["ok".to_owned()]),
        false => (StatusCode::SERVICE_UNAVAILABLE, reasons),
    };
    lines.extend_from_slice(troubles);
    (status, lines.join("\n") + "\n")
}

/// A listener with a bounded number of connections.
struct Bounded {
    listener: tokio::net::TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (Held { stream, idle: Box::pin(tokio::time::sleep(IDLE_MAX)), _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection, its place among the bounded number, and its patience.
struct Held {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Held {
    /// Passes a result on; without one, fails once nothing has happened for long.
    fn unless_idle<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.idle.as_mut().reset(tokio::time::Instant::now() + IDLE_MAX);
            return result;
        }
        ready!(self.idle.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.unless_idle(context, result)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unless_idle(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
