//! HTTP for machines: `/livez`, `/readyz`, `/metrics`, `/api/v1/status`. Off unless `[http]` is configured.
//!
//! Owns: routes, the listening socket, the graceful stop. Answers come from figures in memory, so that a database that
//! hangs cannot hang a probe. Refuses: writing anything, and row data: there is none in what it serves.
//! Fails: with `E461` when the address cannot be had; at the start that stops the program.

pub mod client;
pub mod facts;
pub mod metrics;

use crate::error::{Error, Reason, Result};
use crate::flow::figures::Figures;
use crate::flow::pulse::{Live, State as LinkState};
use crate::status::{Document, Report};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::{Router, body::Body};
use facts::Cache;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The main loop ticks each second; a loop that has not for so long is stuck.
const TICK_MAX: Duration = Duration::from_secs(15);
/// Requests that are being answered get this long when the server stops.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// What a running process shows of itself.
#[derive(Debug)]
pub struct Shown {
    pub live: Arc<Live>,
    pub facts: Arc<Cache>,
    /// The last reload was understood and taken.
    pub is_reload_good: AtomicBool,
    pub started: Instant,
    pub started_at_us: i64,
    ticked_ms: AtomicU64,
}

impl Shown {
    pub fn new(live: Arc<Live>) -> Self {
        Shown {
            live,
            facts: Arc::default(),
            is_reload_good: AtomicBool::new(true),
            started: Instant::now(),
            started_at_us: crate::flow::pulse::now_us(),
            ticked_ms: AtomicU64::new(0),
        }
    }

    /// The main loop lives.
    pub fn tick(&self) {
        let age = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.ticked_ms.store(age, Relaxed);
        self.live.links().iter().for_each(|pulse| pulse.tick());
    }

    fn since_tick(&self) -> Duration {
        let ticked = Duration::from_millis(self.ticked_ms.load(Relaxed));
        self.started.elapsed().saturating_sub(ticked)
    }

    /// Each link as far as the process knows it.
    pub fn reports(&self) -> Vec<Report> {
        self.live
            .links()
            .iter()
            .map(|pulse| {
                self.facts
                    .report(&pulse.sync, &pulse.link)
                    .with(Some(Figures::of(pulse)))
            })
            .collect()
    }
}

/// A listening server; dropped without [`Server::stop`] it goes with the runtime.
pub struct Server {
    pub address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(listen: SocketAddr, shown: Arc<Shown>) -> Result<Server> {
        let refused = |error: std::io::Error| {
            let hint = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "another program (or another tidelock) has this port: choose another one in [http] listen"
                }
                _ => "set [http] listen to an address of this machine, and a port above 1023",
            };
            Error::definite(format!("listen on {listen} for HTTP (E461)"))
                .reason(Reason::Config)
                .because(error)
                .hint(hint)
        };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let stop = CancellationToken::new();
        let told = stop.clone();
        let task = tokio::spawn(async move {
            let serve = axum::serve(listener, router(shown));
            let served = serve.with_graceful_shutdown(async move { told.cancelled().await });
            if let Err(error) = served.await {
                tracing::error!(event = "http_failed", %error, "HTTP is not served any more");
            }
        });
        tracing::info!(event = "http_listens", %address, "HTTP");
        Ok(Server { address, stop, task })
    }

    /// Takes no new requests and answers the open ones.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(LEAVE_MAX, &mut self.task).await.is_err() {
            self.task.abort();
            let _ = self.task.await;
        }
    }
}

fn router(shown: Arc<Shown>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(serve_metrics))
        .route("/api/v1/status", get(status))
        .fallback(unknown)
        .with_state(shown)
}

type Text = (StatusCode, [(HeaderName, &'static str); 1], String);

fn text(code: StatusCode, body: String) -> Text {
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (code, plain, body)
}

async fn livez(State(shown): State<Arc<Shown>>) -> Text {
    let late = shown.since_tick();
    if late > TICK_MAX {
        let seconds = late.as_secs();
        let why = format!("the main loop has not ticked for {seconds} s\n");
        return text(StatusCode::SERVICE_UNAVAILABLE, why);
    }
    text(StatusCode::OK, "ok\n".to_owned())
}

/// Is a link where it should be? A pause is somebody's wish, a conflict a matter of rows.
fn is_ready(state: LinkState) -> bool {
    matches!(
        state,
        LinkState::Streaming | LinkState::Resting | LinkState::Paused
    )
}

async fn readyz(State(shown): State<Arc<Shown>>, RawQuery(query): RawQuery) -> Text {
    let verbose = query.is_some_and(|query| query.split('&').any(|word| word.starts_with("verbose")));
    let links = shown.live.links();
    let (mut good, mut lines) = (!links.is_empty(), String::new());
    for pulse in &links {
        let condition = pulse.condition();
        let ready = is_ready(condition.state);
        good &= ready;
        if verbose || !ready {
            let mark = if ready { "[+]" } else { "[-]" };
            let why = if condition.why.is_empty() { "" } else { ": " };
            // Writing to a String cannot fail.
            let _ = writeln!(
                lines,
                "{mark} {} {} {}{why}{}",
                pulse.sync,
                pulse.link,
                condition.state.name(),
                condition.why
            );
        }
    }
    match good {
        true => text(StatusCode::OK, format!("{lines}ok\n")),
        false => text(StatusCode::SERVICE_UNAVAILABLE, format!("{lines}not ready\n")),
    }
}

async fn serve_metrics(State(shown): State<Arc<Shown>>) -> Response {
    match metrics::encode(&shown) {
        Ok(body) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], body).into_response(),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn status(State(shown): State<Arc<Shown>>) -> Json<Document> {
    Json(Document::new(shown.reports()))
}

async fn unknown() -> Response<Body> {
    let known = "known are /livez, /readyz, /metrics and /api/v1/status\n";
    text(StatusCode::NOT_FOUND, known.to_owned()).into_response()
}
