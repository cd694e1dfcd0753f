//! What watches the service: liveness, readiness, version, metrics.

use crate::http::guard::Caller;
use crate::problem::{Kind, Problem};
use crate::service::{Service, read};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(version))
        .routes(routes!(metrics))
}

/// Say that the process is alive
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, description = "Alive", body = String, content_type = "text/plain")))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Say whether runs are taken in
///
/// They are unless the service is ending, or its records can be neither read nor written.
#[utoipa::path(get, path = "/readyz", tag = "service", responses((status = 200, description = "Ready", body = String, content_type = "text/plain"),
    (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn readyz(State(service): State<Arc<Service>>) -> Result<&'static str, Problem> {
    if service.is_draining() {
        return Err(Problem::new(Kind::Unavailable, "the service is ending", "ask the service that follows"));
    }
    read(&service.reader, store::Reader::sizes).await?;
    service.pulse.feel(&service.store).await?;
    Ok("ready\n")
}

/// Which fireclay this is.
#[derive(Debug, Serialize, ToSchema)]
struct Version {
    /// Of this program.
    version: &'static str,
    /// Of the image that runs see.
    image: String,
}

/// Say which version this is
#[utoipa::path(get, path = "/version", tag = "service", responses((status = 200, description = "The version", body = Version)))]
async fn version(State(service): State<Arc<Service>>) -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION"), image: service.machine.image_digest().to_owned() })
}

/// Read metrics
///
/// In the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, description = "Metrics", body = String, content_type = "text/plain"),
    (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn metrics(State(service): State<Arc<Service>>, caller: Caller) -> Result<impl IntoResponse, Problem> {
    caller.admin()?;
    let sizes = read(&service.reader, store::Reader::sizes).await?;
    let load = service.machine.load();
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: u64| {
        writeln!(
            text,
            "# HELP fireclay_{name} {help}\n# TYPE fireclay_{name} gauge\nfireclay_{name} {value}"
        )
        .expect("a String takes all");
    };
    gauge("places", "Runs at once, at most", load.places as u64);
    gauge("running", "Runs that have a place", load.running as u64);
    gauge("queued", "Runs that wait for a place", load.queued as u64);
    let pool = service.machine.pool();
    gauge("pool_idle", "Sandboxes that wait for runs, built or being built", pool.idle as u64);
    gauge("pool_target", "Sandboxes that there should be, those in use included", pool.target as u64);
    gauge("pool_leased", "Sandboxes in use", pool.leased as u64);
    gauge("sessions", "Sessions that are open", service.sessions.count() as u64);
    gauge("store_bytes", "Size of the database", sizes.db_bytes);
    gauge("artifact_bytes", "Size of all artifacts", sizes.blob_bytes);
    gauge("stored_runs", "Runs in the store", sizes.runs);
    gauge(
        "memory_available_bytes",
        "Memory of the machine that can be had without swapping",
        available_bytes(),
    );
    if let Some(elsewhere) = service.elsewhere.get() {
        let (rows, prepared) = elsewhere.metrics().await;
        rows.into_iter().for_each(|(name, help, value)| gauge(name, help, value));
        free_prepared(&mut text, &prepared);
    }
    writeln!(
        text,
        "# HELP fireclay_leases_total Sandboxes given to runs\n# TYPE fireclay_leases_total counter\n\
         fireclay_leases_total{{start=\"warm\"}} {}\nfireclay_leases_total{{start=\"cold\"}} {}",
        pool.warm, pool.cold
    )
    .expect("a String takes all");
    writeln!(
        text,
        "# HELP process_resident_memory_bytes Resident memory size in bytes\n# TYPE process_resident_memory_bytes gauge\n\
         process_resident_memory_bytes {}",
        resident_bytes()
    )
    .expect("a String takes all");
    let (sent, load) = (&service.traces.sent, std::sync::atomic::Ordering::Relaxed);
    writeln!(
        text,
        "# HELP fireclay_otlp_traces_total Ended traces for the collector\n# TYPE fireclay_otlp_traces_total counter\n\
         fireclay_otlp_traces_total{{result=\"taken\"}} {}\nfireclay_otlp_traces_total{{result=\"dropped\"}} {}",
        sent.taken.load(load),
        sent.dropped.load(load)
    )
    .expect("a String takes all");
    service.logins.counts.write(&mut text);
    service.machine.phases().write(&mut text);
    service.counters.write(&mut text);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}

/// Memory that this process has (`Rss` of proc_pid_status(5)); 0 if the kernel does not say.
fn resident_bytes() -> u64 {
    kibibytes("/proc/self/status", "VmRSS:")
}

/// Memory that programs can still have (`MemAvailable` of proc_meminfo(5)).
fn available_bytes() -> u64 {
    kibibytes("/proc/meminfo", "MemAvailable:")
}

fn kibibytes(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// Free places by template, of workers that have it prepared.
fn free_prepared(text: &mut String, prepared: &BTreeMap<String, u64>) {
    let name = "fireclay_cluster_free_prepared";
    writeln!(text, "# HELP {name} Places of ready workers that nothing runs in and that have the template prepared\n# TYPE {name} gauge")
        .expect("a String takes all");
    for (template, free) in prepared {
        writeln!(text, "{name}{{template={template:?}}} {free}").expect("a String takes all");
    }
}
