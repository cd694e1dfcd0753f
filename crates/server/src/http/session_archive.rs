//! `/v1/sessions/{id}/archive`: a directory of a session's workspace at once, as a tar archive, in and out, streamed both ways.
//!
//! In the shape of Docker's `/containers/{id}/archive`: `path` is the directory. Names in the archive are relative to it, both ways, so
//! that what came out of one session goes into another as it was.

use crate::http::body::{Pieces, Query, media_type};
use crate::http::guard::Caller;
use crate::http::session_files::{Changing, WRITE_BYTES, problem, still_open, waiting, with_files};
use crate::http::sessions::session_id;
use crate::problem::{Kind, Problem};
use crate::service::Service;
use axum::Json as Answer;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::spec::check_path;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use worker::session::Workspace;
use worker::session::pack::{ENTRIES_MAX, Packing};
use worker::session::unpack::{NotUnpacked, Unpacked, Unpacking};

/// The media type of a tar archive.
const TAR: &str = "application/x-tar";

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(fetch, put))
}

/// What to pack, or where to unpack.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct ArchiveQuery {
    /// The directory, relative to the workspace; absent is the workspace
    path: String,
}

impl ArchiveQuery {
    fn checked(self) -> Result<String, Problem> {
        if !self.path.is_empty() {
            check_path("path", &self.path)?;
        }
        Ok(self.path)
    }
}

/// What was unpacked.
#[derive(Debug, Serialize, ToSchema)]
struct UnpackedView {
    /// Files.
    files: u64,
    /// Their bytes.
    bytes: u64,
    /// Directories that the archive names.
    directories: u64,
    /// Symbolic links of it, which are not made.
    links_left_out: u64,
    /// Bytes that are left on the session's disk.
    free_bytes: u64,
}

/// Fetch a directory of a session as a tar archive
///
/// Names are relative to the directory; one file alone may be named, too. Links, pipes and sockets are left out. It is packed while it
/// is sent: what changes meanwhile is there as it was or as it is, and a file that shrinks ends in zeros.
#[utoipa::path(get, path = "/v1/sessions/{id}/archive", operation_id = "fetch_session_archive", tag = "sessions", params(ArchiveQuery, ("id" = String, Path, description = "The session")),
    responses((status = 200, description = "The archive", body = Vec<u8>, content_type = "application/x-tar"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn fetch(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<ArchiveQuery>,
) -> Result<Response, Problem> {
    let (id, path) = (session_id(&id)?, query.checked()?);
    let packing =
        with_files(&service, &caller, &id, &path, |files, path| Packing::of(files.try_clone()?, path));
    let packing = packing.await?.map_err(|why| {
        let hint = format!("take a part of it; at most {ENTRIES_MAX} things are packed, 64 directories deep");
        Problem::new(Kind::Conflict, format!("it cannot be packed: {why}"), hint)
    })?;
    // Each piece is packed by a thread that may wait, when the one before it is taken: none is held by a slow client.
    let pieces = stream::try_unfold(packing, |mut packing| async move {
        let packed =
            tokio::task::spawn_blocking(move || packing.next_piece().map(|piece| (piece, packing))).await;
        let (piece, packing) = packed.map_err(std::io::Error::other)??;
        Ok::<_, std::io::Error>(piece.map(|piece| (Bytes::from(piece), packing)))
    });
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(TAR));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    Ok(response)
}

/// Unpack a tar archive into a directory of a session
///
/// The directory is made if it is not there; what has the name of a file of the archive is replaced. Each file is there whole or not at
/// all, with its time and whether it may be executed. Symbolic links are counted and not made. An archive with hard links, devices,
/// pipes, sparse files, or names that are absolute or climb is refused where that comes: what came before it stays. It is not compressed.
#[utoipa::path(put, path = "/v1/sessions/{id}/archive", operation_id = "put_session_archive", tag = "sessions",
    params(ArchiveQuery, ("id" = String, Path, description = "The session")), request_body(content = Vec<u8>, content_type = "application/x-tar"),
    responses((status = 200, description = "What was unpacked", body = UnpackedView), (status = 507, description = "There is no room; the problem says how much is left", body = Problem, content_type = "application/problem+json"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn put(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<ArchiveQuery>,
    request: Request,
) -> Result<Answer<UnpackedView>, Problem> {
    let (id, path) = (session_id(&id)?, query.checked()?);
    media_type(request.headers(), &[TAR])?;
    let beginning = async {
        let files = service.session_files(&caller.tenant, &id).await?;
        let changing = still_open(&service, &caller, &id)?;
        let mut reading = Reading::begin(files, path).await?;
        reading.changing = Some(changing);
        Ok(reading)
    };
    // Enough is read even of what is refused for most clients to hear why: they listen when they have sent.
    let patience = service.settings.body_bytes;
    let mut pieces = Pieces::new(request.into_body(), &service);
    let mut reading = beginning.await;
    let mut read = 0;
    while let Some(piece) = pieces.next().await? {
        read += piece.len() as u64;
        reading = match reading {
            Ok(reading) => reading.take(piece).await,
            Err(refused) if read > patience => return Err(refused),
            refused => refused,
        };
    }
    reading?.finish().await.map(Answer)
}

/// An archive on its way in. No thread is held while the client sends.
struct Reading {
    files: Workspace,
    unpacking: Unpacking,
    /// What came and is not unpacked.
    pending: Vec<u8>,
    changing: Option<Changing>,
}

impl Reading {
    async fn begin(files: Workspace, path: String) -> Result<Self, Problem> {
        waiting(move || {
            let made = if path.is_empty() { Ok(()) } else { files.make_directory(&path) };
            let own =
                made.and_then(|()| files.try_clone()).map_err(|error| problem(&path, &error, &files))?;
            Ok(Self { files, unpacking: Unpacking::into(own, path), pending: Vec::new(), changing: None })
        })
        .await
    }

    async fn take(mut self, piece: Bytes) -> Result<Self, Problem> {
        self.pending.extend_from_slice(&piece);
        if self.pending.len() < WRITE_BYTES {
            return Ok(self);
        }
        waiting(move || self.unpack().map(|()| self)).await
    }

    fn unpack(&mut self) -> Result<(), Problem> {
        let taken = self.unpacking.take(&self.pending);
        self.pending.clear();
        taken.map_err(|not| not_unpacked(&not, &self.files))
    }

    async fn finish(mut self) -> Result<UnpackedView, Problem> {
        waiting(move || {
            self.unpack()?;
            let unpacked = self.unpacking.finish().map_err(|not| not_unpacked(&not, &self.files))?;
            let Unpacked { files, bytes, directories, links } = unpacked;
            let free_bytes = self.files.space().map_or(0, |space| space.free_bytes);
            Ok(UnpackedView { files, bytes, directories, links_left_out: links, free_bytes })
        })
        .await
    }
}

fn not_unpacked(not: &NotUnpacked, files: &Workspace) -> Problem {
    match not {
        NotUnpacked::Refused(why) => {
            let hint = "send files and directories with relative names, as `tar -C DIRECTORY -c .` does";
            Problem::new(Kind::InvalidRequest, why.clone(), hint)
        }
        NotUnpacked::Kernel(path, error) => problem(path, error, files),
    }
}
