//! `/v1/templates`: what sandboxes are made from, and the operator's own.

use crate::http::body;
use crate::http::guard::Caller;
use crate::http::runs::accepts_events;
use crate::problem::{Kind, Problem};
use crate::service::Service;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::{Language, Rejection, RunRequest, TemplateDefinition};
use serde::Serialize;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use worker::template::{NotReady, OwnTemplate, Template};

/// Lines of a build that may wait for a client that reads slowly; then they are left out.
const LINES_MAX: usize = 10_000;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(list_templates, build_template))
        .routes(routes!(show_template, remove_template))
}

/// What sandboxes are made from.
#[derive(Debug, Serialize, ToSchema)]
struct TemplateView {
    /// What runs and sessions call it.
    name: String,
    /// What it is for.
    purpose: String,
    /// The languages that run in it, the first being what it is for.
    languages: Vec<Language>,
    /// The packages that it has: names, and versions where it was resolved here.
    packages: Vec<String>,
    /// What its warm interpreter has imported.
    modules: Vec<String>,
    /// Whether runs can be made from it now; if not, `hint` says what is to be done.
    ready: bool,
    /// What is to be done first.
    hint: Option<String>,
    /// Whether it comes with fireclay.
    shipped: bool,
    /// The shipped one that it begins with.
    base: Option<String>,
    /// Whether it is the caller's own alone.
    own: bool,
    /// The version that its name stands for: `NAME@VERSION` is always this one.
    version: Option<String>,
    /// The digest of what was asked for and what was built, in hexadecimal.
    digest: Option<String>,
    /// Bytes of its layers.
    bytes: Option<u64>,
    /// When it was built.
    created_at: Option<String>,
    /// Sandboxes that wait for its runs, on this machine.
    waiting: u64,
    /// Sandboxes in which its runs are.
    leased: u64,
    /// Bytes of memory that those that wait hold, rounded up from what was measured.
    memory_bytes: u64,
}

/// The templates.
#[derive(Debug, Serialize, ToSchema)]
struct TemplateList {
    /// Shipped ones first.
    items: Vec<TemplateView>,
}

impl Service {
    /// Says whether another template, or another version of this one, may be built: of one tenant, and of all.
    fn has_room_for_template(&self, tenant: Option<&str>, name: &str) -> Result<(), Problem> {
        let settings = &self.settings.templates;
        let templates = self.machine.templates();
        let reference = tenant.map_or_else(|| name.to_owned(), |tenant| format!("{tenant}/{name}"));
        let is_new = templates.own(&reference)?.is_none();
        let of_all = (templates.usage(None)?, settings.max, settings.bytes, "templates of this service");
        let of_one = match tenant {
            Some(tenant) => Some((
                templates.usage(Some(tenant))?,
                settings.tenant_max,
                settings.tenant_bytes,
                "templates of your own",
            )),
            None => None,
        };
        for ((count, bytes), most, bytes_most, whose) in of_one.into_iter().chain([of_all]) {
            let wrong = if is_new && count >= most {
                format!("there are {count} {whose}, and {most} may be")
            } else if bytes >= bytes_most {
                format!("{whose} take {bytes} bytes, and {bytes_most} may be")
            } else {
                continue;
            };
            let hint =
                "remove one that is not needed, with all its versions: `fireclay template remove NAME`";
            return Err(Rejection::new("name", wrong, hint).into());
        }
        Ok(())
    }

    fn view_of_template(&self, template: Template) -> TemplateView {
        let not = self.machine.is_ready(&template).err();
        let own = template.own.as_deref();
        let waiting = self.machine.waiting_of(&template);
        TemplateView {
            languages: template.languages.iter().map(|row| row.name).collect(),
            packages: template.packages.iter().map(|row| row.name.clone()).collect(),
            modules: template.modules(),
            ready: not.is_none(),
            hint: not.map(|not| not.to_string()),
            shipped: own.is_none(),
            base: own.map(|own| own.definition.base.clone()),
            own: own.is_some_and(|own| own.tenant.is_some()),
            version: own.map(|own| own.version().to_owned()),
            digest: own.map(|own| own.digest.clone()),
            bytes: own.map(|own| own.bytes),
            created_at: own.map(|own| own.created_at.clone()),
            waiting: waiting.idle as u64,
            leased: waiting.leased as u64,
            memory_bytes: waiting.memory_bytes,
            name: template.name,
            purpose: template.purpose,
        }
    }
}

/// List templates
#[utoipa::path(get, path = "/v1/templates", operation_id = "list_templates", tag = "templates",
    responses((status = 200, description = "All of them", body = TemplateList),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list_templates(
    State(service): State<Arc<Service>>,
    caller: Caller,
) -> Result<Json<TemplateList>, Problem> {
    let items = blocking(move || {
        let all = service.machine.templates().all(Some(caller.tenant.as_str()))?;
        Ok(all.into_iter().map(|template| service.view_of_template(template)).collect())
    });
    Ok(Json(TemplateList { items: items.await? }))
}

/// Show a template, or one version of it as `NAME@VERSION`
#[utoipa::path(get, path = "/v1/templates/{name}", operation_id = "show_template", tag = "templates", params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "What it is", body = TemplateView),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn show_template(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<TemplateView>, Problem> {
    let view = blocking(move || {
        let templates = service.machine.templates();
        match templates.find(&templates.for_tenant(caller.tenant.as_str(), &name)) {
            Ok(template) => Ok(service.view_of_template(template)),
            Err(NotReady::Rejected(rejection)) => {
                Err(Problem::new(Kind::NotFound, rejection.message, rejection.hint))
            }
            Err(NotReady::Fault(fault)) => Err(fault.into()),
        }
    });
    view.await.map(Json)
}

/// Build a template
///
/// With the role admin it is there for every tenant, else for the caller's own alone, and goes before one of the same name. Packages are resolved and installed once, files and what commands leave are kept, each
/// in a sandbox and each as a layer. Answers when it is built; with `Accept: text/event-stream` with events: `line` for what is done and said
/// (`{"text": …}`), then `built` with the template, or `problem`. A name stands for its newest version, and runs that go on keep theirs.
#[utoipa::path(post, path = "/v1/templates", operation_id = "build_template", tag = "templates", request_body = TemplateDefinition,
    responses((status = 201, description = "It is built; or the stream of events", content((TemplateView = "application/json"), (crate::http::sse::StreamEvent = "text/event-stream"))),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn build_template(
    State(service): State<Arc<Service>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    // What everybody uses is made by an administrator.
    let tenant = caller.admin().is_err().then(|| caller.tenant.as_str().to_owned());
    body::is_json(request.headers())?;
    let streams = accepts_events(request.headers());
    let bytes = body::read_all(request.into_body(), &service).await?;
    let definition: TemplateDefinition = body::parse(&bytes)?;
    definition.check()?;
    // By a run that is not run: variables, files, limits and hosts are what a run's are.
    let trial = RunRequest {
        language: Some(Language::Bash),
        env: definition.env.clone(),
        files: definition.files.clone(),
        limits: definition.limits,
        egress: definition.egress.clone(),
        ..RunRequest::default()
    };
    service.admit(&caller.tenant, trial).await?;
    service.has_room_for_template(tenant.as_deref(), &definition.name)?;
    let (lines, mut said) = mpsc::channel(LINES_MAX);
    let building = tokio::spawn({
        let (service, tenant) = (service.clone(), tenant.clone());
        async move {
            // Nobody may be reading: then what is said is left out.
            let mut tell = |line: &str| drop(lines.try_send(line.to_owned()));
            service.machine.installer().build_template(definition, tenant, &mut tell).await
        }
    });
    let built = async move {
        let own: OwnTemplate = building.await.map_err(|error| lost(&error))??;
        let name = own.reference();
        blocking(move || {
            let template = service.machine.templates().find(&name)?;
            Ok(service.view_of_template(template))
        })
        .await
    };
    if !streams {
        let view = built.await?;
        let place = HeaderValue::try_from(format!("/v1/templates/{}", view.name));
        let place = place.map_err(|error| lost(&error))?;
        return Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(view)).into_response());
    }
    let mut built = Some(Box::pin(built));
    let events = stream::poll_fn(move |context| {
        use std::task::Poll;
        match said.poll_recv(context) {
            Poll::Ready(Some(line)) => {
                let event = Event::default().event("line").data(json!({ "text": line }).to_string());
                return Poll::Ready(Some(Ok::<_, Infallible>(event)));
            }
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => {}
        }
        let Some(ending) = built.as_mut() else { return Poll::Ready(None) };
        match ending.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(ended) => {
                built = None;
                let (kind, text) = match ended {
                    Ok(view) => ("built", serde_json::to_string(&view)),
                    Err(problem) => ("problem", serde_json::to_string(&problem)),
                };
                let text = text.unwrap_or_default();
                Poll::Ready(Some(Ok(Event::default().event(kind).data(text))))
            }
        }
    });
    Ok((StatusCode::CREATED, Sse::new(events).keep_alive(KeepAlive::default())).into_response())
}

/// Remove a template
///
/// Everybody's with the role admin, else the caller's own. One that comes with fireclay stays; one of which sandboxes wait or run is refused.
#[utoipa::path(delete, path = "/v1/templates/{name}", operation_id = "remove_template", tag = "templates", params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is gone"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn remove_template(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let tenant = caller.admin().is_err().then(|| caller.tenant.as_str().to_owned());
    blocking(move || {
        if Template::shipped(&name).is_some() {
            let hint = "leave it; what it has can be laid over with another name";
            return Err(Problem::new(Kind::Conflict, format!("{name:?} comes with fireclay"), hint));
        }
        if let (Some(tenant), Ok(Some(_))) = (&tenant, service.machine.templates().own(&name))
            && service.machine.templates().for_tenant(tenant, &name) == name
        {
            // It is there, and an operator's.
            return Err(caller.admin().expect_err("its tenant is told only of one who is none"));
        }
        let reference = tenant.map_or_else(|| name.clone(), |tenant| format!("{tenant}/{name}"));
        service.machine.forget_template(&reference);
        match service.machine.templates().remove(&reference) {
            Ok(true) => Ok(StatusCode::NO_CONTENT),
            Ok(false) => Err(Problem::new(
                Kind::NotFound,
                format!("there is no template {name:?}"),
                "see `GET /v1/templates`",
            )),
            Err(error) => Err(Problem::new(
                Kind::Conflict,
                error.to_string(),
                "wait until runs and sessions of it have ended, and ask again",
            )),
        }
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| lost(&error))?
}

fn lost(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(Kind::Fault, error.to_string(), "the service's log says more")
}
