//! AgentRun's REST API (github.com/tjmlabs/AgentRun), so that its callers change nothing but the address.
//!
//! `POST /v1/run/` takes `{"code": …}` and answers `{"output": …}`; `GET /v1/health/` answers `{"status":"ok"}`. Refusals have the
//! shapes of FastAPI 0.110.1 with pydantic 2.14, held by `api/examples/agentrun`. The isolation is ours, and so are these answers:
//!
//! - 401, 403, 408, 413, 429 and 503 are problem documents: AgentRun has no keys, no bounds and no queue.
//! - Where FastAPI fails at quoting the caller's own mistake (NaN, half a surrogate pair, text that is not UTF-8), it is a 422.
//! - Limits are the tenant's own but for the time: 300 s, as there. A program that is killed for its memory, disk or output answers
//!   what it wrote until then, as a process killed in AgentRun's container does; of too much output, head and tail.
//! - Each call is a run like any other: recorded, listed at `/v1/runs`, with the label `api=agentrun`.

mod python_json;

use crate::checks;
use crate::http::body;
use crate::http::guard::Caller;
use crate::needs::Answered;
use crate::problem::Problem;
use crate::service::{Service, Submission, Submitted};
use crate::traces::Origin;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use model::{CheckMode, CheckPolicy, Egress, Fault, FaultCode, Language, LimitsPatch, Outcome, RunRequest};
use python_json::{Code, Kind, Unreadable, quote};
use std::collections::BTreeMap;
use std::sync::Arc;
use worker::installer::Over;

/// What a run that took longer answers.
const TIMED_OUT: &str = "Execution timed out.";
/// Methods that a preflight is told of, and how long it holds (Starlette 0.37.2).
const CORS_METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
const CORS_MAX_AGE_S: &str = "600";

/// The routes; not part of the described API, which is ours.
pub fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/run/", any(run))
        .route("/v1/run", any(with_slash))
        .route("/v1/health/", any(health))
        .route("/v1/health", any(with_slash))
}

/// Whether a path is one of AgentRun's.
pub fn serves(path: &str) -> bool {
    matches!(path.strip_suffix('/').unwrap_or(path), "/v1/run" | "/v1/health")
}

/// Lets pages of `agentrun.cors_origins` read the answers, and answers what their browsers ask first. Stands before the guard:
/// a browser asks without a key.
pub async fn cors(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let settings = &service.settings.agentrun;
    let listed =
        |origin: &&HeaderValue| settings.cors_origins.iter().any(|own| own.as_bytes() == origin.as_bytes());
    let concerned = settings.enabled && serves(request.uri().path());
    let origin = request.headers().get(header::ORIGIN).filter(|origin| concerned && listed(origin)).cloned();
    let Some(origin) = origin else { return next.run(request).await };
    let asked = request
        .headers()
        .get(header::ACCESS_CONTROL_REQUEST_METHOD)
        .filter(|_| request.method() == Method::OPTIONS);
    let mut response = match asked {
        Some(method) => preflight(method, request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS)),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

fn preflight(method: &HeaderValue, wanted: Option<&HeaderValue>) -> Response {
    let known = CORS_METHODS.split(", ").any(|own| own.as_bytes() == method.as_bytes());
    let (status, text) =
        if known { (StatusCode::OK, "OK") } else { (StatusCode::BAD_REQUEST, "Disallowed CORS method") };
    let told = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS),
        (header::ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE_S),
    ];
    let mut response = (status, told, text).into_response();
    if let Some(wanted) = wanted {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}

async fn health(method: Method) -> Response {
    if method != Method::GET {
        return not_allowed("GET");
    }
    json(StatusCode::OK, r#"{"status":"ok"}"#.to_owned())
}

/// FastAPI keeps slashes strict and sends callers on, whatever their method: 307 keeps it, and the body.
async fn with_slash(uri: Uri, headers: HeaderMap) -> Response {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{}/{query}", uri.path());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    // As uvicorn does; a proxy that ends TLS says so, or the key of the next request would go out in the clear.
    let tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let scheme = if tls { "https" } else { "http" };
    let location = host.map_or_else(|| target.clone(), |host| format!("{scheme}://{host}{target}"));
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
}

async fn run(State(service): State<Arc<Service>>, caller: Caller, request: Request) -> Response {
    if request.method() != Method::POST {
        return not_allowed("POST");
    }
    let (parts, body) = request.into_parts();
    let bytes = match body::read_all(body, &service).await {
        Ok(bytes) => bytes,
        Err(problem) => return refused(problem),
    };
    let code = match code_of(&parts.headers, &bytes) {
        Ok(code) => code,
        Err(response) => return *response,
    };
    match execute(&service, caller, code).await {
        Ok(output) => {
            let mut text = r#"{"output":"#.to_owned();
            quote(&output, &mut text);
            text.push('}');
            json(StatusCode::OK, text)
        }
        Err(problem) => refused(problem),
    }
}

/// Runs a program and says what AgentRun would.
async fn execute(service: &Arc<Service>, caller: Caller, code: String) -> Result<String, Problem> {
    let random = sys::fs::random().map_err(|error| Fault::new(FaultCode::Internal, error.to_string()))?;
    let settings = &service.settings.agentrun;
    let script = format!("script_{:032x}.py", u128::from_be_bytes(random));
    let request = RunRequest {
        language: Some(Language::Python),
        code,
        file_name: Some(script.clone()),
        limits: LimitsPatch { timeout_ms: Some(settings.timeout_ms), ..LimitsPatch::default() },
        egress: (!settings.egress.is_empty())
            .then(|| Egress { allow: settings.egress.clone(), ..Egress::default() }),
        check: Some(settings.check),
        check_policy: Some(CheckPolicy::Agentrun),
        metadata: BTreeMap::from([("api".to_owned(), "agentrun".to_owned())]),
        ..RunRequest::default()
    };
    // Its check comes first: what it refuses brings no packages.
    let spec = service.admit(&caller.tenant, request.clone()).await?;
    let verdicts = service.verdicts_of(&caller.tenant, &request).await?;
    let checked = checks::of(&verdicts, &spec).await?;
    let mut environment = None;
    if !checked.denied {
        match service.install_as_agentrun(&caller.tenant, Over::from(&spec), &spec.code).await? {
            Answered::Words(words) => return Ok(words),
            Answered::Environment(hex) => environment = hex,
        }
    }
    let submission = Submission {
        tenant: caller.tenant,
        request,
        idempotency: None,
        batch: None,
        merge_output: true,
        told_late: true,
        environment,
        session: None,
        trace: Origin::default(),
    };
    let Submitted::New { live, .. } = service.submit(submission).await? else {
        return Err(
            Fault::new(FaultCode::Internal, "a run without an idempotency key was there before").into()
        );
    };
    let result = live.finished().await?;
    if let Some(fault) = &result.fault {
        return Err(fault.clone().into());
    }
    Ok(match result.outcome {
        Some(Outcome::TimedOut) => TIMED_OUT.to_owned(),
        // Its rules refuse in words of their own.
        Some(Outcome::Denied) => {
            let against = result.findings.iter().find(|finding| finding.verdict == CheckMode::Deny);
            against.map(|finding| finding.reason.clone()).unwrap_or_default()
        }
        // Scripts lie in another place there.
        _ => result.stdout.replace(&format!("/workspace/{script}"), &format!("/code/{script}")),
    })
}

/// The program in a body, or FastAPI's refusal.
fn code_of(headers: &HeaderMap, bytes: &[u8]) -> Result<String, Box<Response>> {
    if bytes.is_empty() {
        return Err(missing(&["body"], "null").into());
    }
    if !is_json(headers) {
        let mut said = String::new();
        quote(&String::from_utf8_lossy(bytes), &mut said);
        return Err(no_object(&said).into());
    }
    let unreadable = || {
        Box::new(json(
            StatusCode::BAD_REQUEST,
            r#"{"detail":"There was an error parsing the body"}"#.to_owned(),
        ))
    };
    let text = std::str::from_utf8(bytes).map_err(|_| unreadable())?;
    let body = python_json::read(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(|wrong| match wrong {
        Unreadable::TooMuch => unreadable(),
        Unreadable::Invalid(what, at) => {
            let what = serde_json::Value::from(what);
            invalid(&format!(
                r#"{{"type":"json_invalid","loc":["body",{at}],"msg":"JSON decode error","input":{{}},"ctx":{{"error":{what}}}}}"#
            ))
            .into()
        }
    })?;
    match body.kind {
        Kind::Object(Some(Code::Text(code))) => Ok(code),
        Kind::Object(Some(Code::Broken(code))) => Err(detail(
            "string_unicode",
            &["body", "code"],
            "Input should be a valid string, unable to parse raw data as a unicode string",
            &code,
        )
        .into()),
        Kind::Object(Some(Code::Other(code))) => {
            Err(detail("string_type", &["body", "code"], "Input should be a valid string", &code).into())
        }
        Kind::Object(None) => Err(missing(&["body", "code"], &body.text).into()),
        Kind::Null => Err(missing(&["body"], "null").into()),
        Kind::Other => Err(no_object(&body.text).into()),
    }
}

/// Whether FastAPI reads a body as JSON: by its type, or because it says none, as `requests.post(url, data=text)` does. A page of
/// another origin can say none too; its browser then says `Origin`, which the guard refuses.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(said) = headers.get(header::CONTENT_TYPE).filter(|said| !said.is_empty()) else { return true };
    let said = said.to_str().unwrap_or_default().to_ascii_lowercase();
    let subtype = said.split(';').next().unwrap_or_default().trim().strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

fn missing(place: &[&str], input: &str) -> Response {
    detail("missing", place, "Field required", input)
}

fn no_object(input: &str) -> Response {
    let message = "Input should be a valid dictionary or object to extract fields from";
    detail("model_attributes_type", &["body"], message, input)
}

/// One mistake as pydantic tells it; `input` is JSON.
fn detail(kind: &str, place: &[&str], message: &str, input: &str) -> Response {
    let (place, message) = (serde_json::json!(place), serde_json::json!(message));
    invalid(&format!(
        r#"{{"type":"{kind}","loc":{place},"msg":{message},"input":{input},"url":"https://errors.pydantic.dev/2.14/v/{kind}"}}"#
    ))
}

fn invalid(detail: &str) -> Response {
    json(StatusCode::UNPROCESSABLE_ENTITY, format!(r#"{{"detail":[{detail}]}}"#))
}

/// A problem of ours: what the program may not be is told as pydantic would, our failures as FastAPI would, the rest as we do.
fn refused(problem: Problem) -> Response {
    match problem.status() {
        StatusCode::UNPROCESSABLE_ENTITY => {
            detail("value_error", &["body", "code"], &format!("Value error, {problem}"), "{}")
        }
        status @ StatusCode::INTERNAL_SERVER_ERROR => (status, "Internal Server Error").into_response(),
        _ => problem.into_response(),
    }
}

fn not_allowed(allowed: &'static str) -> Response {
    let mut response = json(StatusCode::METHOD_NOT_ALLOWED, r#"{"detail":"Method Not Allowed"}"#.to_owned());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn json(status: StatusCode, text: String) -> Response {
    const TYPE: (HeaderName, &str) = (header::CONTENT_TYPE, "application/json");
    (status, [TYPE], text).into_response()
}
