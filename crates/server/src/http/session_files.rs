//! `/v1/sessions/{id}/files`: what lies in a session's workspace, while code works there and for a while after its end.
//!
//! Reached by descriptor, through no link, by the right of the code's own user (`sandbox/src/workspace.rs`). What is fetched was made by
//! hostile code: it is never shown as a page of ours.

use crate::http::body::{self, Json, Pieces, Query};
use crate::http::guard::Caller;
use crate::http::sessions::session_id;
use crate::problem::{Kind, Problem};
use crate::service::{Service, internal};
use crate::sessions::OpenSession;
use axum::Json as Answer;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::spec::check_path;
use model::{Rejection, SessionId};
use serde::{Deserialize, Serialize};
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use worker::session::{Entry, Kind as FileKind, Standing, Upload, Workspace};

/// Most things of one list.
const LIST_MAX: usize = 10_000;
/// How much of an upload is written at once.
pub const WRITE_BYTES: usize = 256 << 10;
/// Longest pattern of a list.
const GLOB_BYTES_MAX: usize = 256;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(fetch, put, remove))
        .routes(routes!(rename))
        .routes(routes!(make_directory))
}

/// Which files to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The directory, relative to the workspace; absent is the workspace
    path: String,
    /// Whether to list what is below, too
    recursive: bool,
    /// Only paths that match this, relative to the workspace: `*`, `**`, `?`, `[ab]`, `{a,b}`
    glob: Option<String>,
}

/// What something in a workspace is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, which is never followed from here.
    Link,
    /// A pipe or a socket.
    Other,
}

/// One thing in a workspace.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileView {
    /// Relative to the workspace. Bytes that are not UTF-8 are replaced.
    path: String,
    /// What it is.
    kind: EntryKind,
    /// Its length; 0 for what is no file.
    bytes: u64,
    /// When it was last changed, RFC 3339 in UTC.
    modified_at: String,
    /// Whether it may be executed.
    executable: bool,
}

impl From<Entry> for FileView {
    fn from(entry: Entry) -> Self {
        let ms = i64::try_from(entry.modified_ns / 1_000_000).unwrap_or(i64::MAX);
        Self {
            path: entry.path.to_string_lossy().into_owned(),
            kind: match entry.kind {
                FileKind::File => EntryKind::File,
                FileKind::Directory => EntryKind::Directory,
                FileKind::Link => EntryKind::Link,
                FileKind::Other => EntryKind::Other,
            },
            bytes: entry.bytes,
            modified_at: worker::run::time(ms),
            executable: entry.executable,
        }
    }
}

/// What is in a directory.
#[derive(Debug, Serialize, ToSchema)]
struct FileList {
    /// By path.
    items: Vec<FileView>,
    /// Whether there is more than was looked at: 10,000 things, 64 directories deep.
    truncated: bool,
    /// Bytes that are left on the session's disk.
    free_bytes: u64,
}

/// From where to where something is moved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Move {
    /// What, relative to the workspace.
    from: String,
    /// Its new path. Directories on the way are made.
    to: String,
    /// Whether what is there is replaced.
    #[serde(default)]
    replace: bool,
}

/// A directory to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MakeDirectory {
    /// Where, relative to the workspace. Those on the way are made, too.
    path: String,
}

/// A problem that the kernel told, of this path.
pub fn problem(path: &str, error: &sys::Error, files: &Workspace) -> Problem {
    let refuse = |kind, what: &str, hint: &str| Problem::new(kind, format!("{path}: {what}"), hint);
    match error.errno {
        libc::ENOENT => Problem::not_found("file", path),
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => {
            let left = files.space().map_or(0, |space| space.free_bytes);
            let what = format!("{left} bytes are left on the session's disk");
            refuse(Kind::NoRoom, &what, "remove files, or open a session with a larger disk_bytes")
        }
        libc::EEXIST => refuse(Kind::Conflict, "something is there", "say \"replace\": true, or remove it"),
        libc::EISDIR => refuse(Kind::Conflict, "it is a directory", "list it, or name a file in it"),
        libc::ENOTDIR => refuse(Kind::Conflict, "a part of it is no directory", "look at the list"),
        libc::EACCES | libc::EPERM => refuse(
            Kind::Conflict,
            "its mode forbids that to the code's user",
            "change its mode in the session",
        ),
        libc::ELOOP | libc::EXDEV | libc::EINVAL => refuse(
            Kind::Conflict,
            "a link, a pipe, or too deep: such are not followed",
            "name the file itself",
        ),
        libc::ENAMETOOLONG => refuse(Kind::InvalidRequest, "the name is too long", "use a shorter one"),
        _ => internal(format!("{path}: {error}")),
    }
}

/// Does something with files in a thread that may wait.
pub async fn with_files<T: Send + 'static>(
    service: &Service,
    caller: &Caller,
    id: &SessionId,
    path: &str,
    work: impl FnOnce(&Workspace, &str) -> sys::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let files = service.session_files(&caller.tenant, id).await?;
    let path = path.to_owned();
    let done = tokio::task::spawn_blocking(move || {
        work(&files, &path).map_err(|error| problem(&path, &error, &files))
    });
    done.await.map_err(|error| internal(error.to_string()))?
}

/// Files of a session are being changed; dropping it says that they were.
#[must_use = "what is changed while it is there is saved"]
pub struct Changing(Arc<OpenSession>);

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.touch();
    }
}

/// Refuses to change files of a session that has ended.
pub fn still_open(service: &Service, caller: &Caller, id: &SessionId) -> Result<Changing, Problem> {
    let open = service.sessions.get(&caller.tenant, id);
    // One that has ended is there until its files are saved: what would be put now might be in them or not.
    match open.filter(|open| !matches!(open.session.standing(), Standing::Ended(_))) {
        Some(open) => {
            open.touch();
            Ok(Changing(open))
        }
        // If there is none of this name, that is what will be said.
        None => Err(Problem::new(
            Kind::Conflict,
            "the session has ended, or is not there: its files cannot be changed",
            "open a session and put the files there",
        )),
    }
}

/// List files of a session
#[utoipa::path(get, path = "/v1/sessions/{id}/files", operation_id = "list_session_files", tag = "sessions", params(ListQuery, ("id" = String, Path, description = "The session")),
    responses((status = 200, description = "What is there", body = FileList), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(ListQuery { path, recursive, glob }): Query<ListQuery>,
) -> Result<Answer<FileList>, Problem> {
    let id = session_id(&id)?;
    if !path.is_empty() {
        check_path("path", &path)?;
    }
    if glob.as_ref().is_some_and(|glob| glob.len() > GLOB_BYTES_MAX) {
        let what = format!("longer than {GLOB_BYTES_MAX} bytes");
        return Err(Rejection::new("glob", what, "use a shorter pattern").into());
    }
    let recursive =
        recursive || glob.as_deref().is_some_and(|glob| glob.contains('/') || glob.contains("**"));
    let listed = with_files(&service, &caller, &id, &path, move |files, path| {
        let (entries, whole) = files.list(path, recursive, LIST_MAX)?;
        let matches =
            |view: &FileView| glob.as_deref().is_none_or(|glob| glob_match::glob_match(glob, &view.path));
        let items = entries.into_iter().map(FileView::from).filter(matches).collect();
        Ok(FileList { items, truncated: !whole, free_bytes: files.space()?.free_bytes })
    });
    listed.await.map(Answer)
}

/// Fetch a file of a session
///
/// One range of bytes may be asked for. The entity tag is of its length and time.
#[utoipa::path(get, path = "/v1/sessions/{id}/files/{*path}", operation_id = "fetch_session_file", tag = "sessions",
    params(("id" = String, Path, description = "The session"), ("path" = String, Path, description = "Relative to the workspace"), ("range" = Option<String>, Header, description = "As RFC 9110 §14 has it, one range"), ("if-none-match" = Option<String>, Header, description = "An entity tag")),
    responses((status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"), (status = 206, description = "The part", body = Vec<u8>, content_type = "application/octet-stream"), (status = 304, description = "It is as it was"), (status = 416, description = "It has no such part"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn fetch(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = session_id(&id)?;
    check_path("path", &path)?;
    let (mut file, entry) = with_files(&service, &caller, &id, &path, |files, path| files.read(path)).await?;
    let tag = format!("\"{:x}-{:x}\"", entry.modified_ns, entry.bytes);
    let said = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if said(header::IF_NONE_MATCH).is_some_and(|own| own.split(',').any(|one| one.trim() == tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let range = said(header::RANGE).filter(|_| said(header::IF_RANGE).is_none_or(|own| own == tag));
    let (status, from, length) = match range.map_or(Range::Whole, |range| range_of(range, entry.bytes)) {
        Range::Whole => (StatusCode::OK, 0, entry.bytes),
        Range::Part(from, to) => (StatusCode::PARTIAL_CONTENT, from, to - from + 1),
        Range::Nothing => {
            let range = format!("bytes */{}", entry.bytes);
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, range)]).into_response());
        }
    };
    file.seek(SeekFrom::Start(from)).map_err(|error| internal(format!("{path}: {error}")))?;
    let part = tokio::fs::File::from_std(file).take(length);
    let mut response = body::of_file(part).into_response();
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // No length: a file may shrink while it is sent, and then a promise of more would be one that is broken.
    let texts = [
        (header::ETAG, Some(tag)),
        (header::LAST_MODIFIED, http_time(entry.modified_ns)),
        (
            header::CONTENT_RANGE,
            (status == StatusCode::PARTIAL_CONTENT)
                .then(|| format!("bytes {from}-{}/{}", from + length - 1, entry.bytes)),
        ),
    ];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// Which part of a file is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    /// From this byte to that one.
    Part(u64, u64),
    /// A part that it does not have.
    Nothing,
}

/// Reads one range of bytes (RFC 9110 §14.1.2). What is understood differently is no range, and the whole file the answer.
fn range_of(text: &str, bytes: u64) -> Range {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Range::Whole;
    };
    let number = |text: &str| text.parse::<u64>();
    match (first, last, number(first), number(last)) {
        ("", _, _, Ok(0)) => Range::Nothing,
        ("", _, _, Ok(_)) if bytes == 0 => Range::Nothing,
        ("", _, _, Ok(suffix)) => Range::Part(bytes.saturating_sub(suffix), bytes - 1),
        (_, "", Ok(first), _) if first < bytes => Range::Part(first, bytes - 1),
        (_, _, Ok(first), Ok(last)) if first <= last && first < bytes => {
            Range::Part(first, last.min(bytes - 1))
        }
        (_, "", Ok(_), _) => Range::Nothing,
        (_, _, Ok(first), Ok(last)) if first <= last => Range::Nothing,
        _ => Range::Whole,
    }
}

/// A time as headers have it (RFC 9110 §5.6.7).
fn http_time(modified_ns: i128) -> Option<String> {
    let time = jiff::Timestamp::from_nanosecond(modified_ns).ok()?;
    Some(time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// Arguments of an upload.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct PutQuery {
    /// Whether the file may be executed
    executable: bool,
}

/// Put a file into a session
///
/// It is there whole or not at all, in place of what was there. Directories on the way are made.
#[utoipa::path(put, path = "/v1/sessions/{id}/files/{*path}", operation_id = "put_session_file", tag = "sessions",
    params(PutQuery, ("id" = String, Path, description = "The session"), ("path" = String, Path, description = "Relative to the workspace")), request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "The file", body = FileView), (status = 507, description = "There is no room; the problem says how much is left", body = Problem, content_type = "application/problem+json"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn put(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, path)): Path<(String, String)>,
    Query(PutQuery { executable }): Query<PutQuery>,
    request: Request,
) -> Result<Answer<FileView>, Problem> {
    let id = session_id(&id)?;
    check_path("path", &path)?;
    // What no page of another origin can send unasked.
    crate::http::body::media_type(request.headers(), &["application/octet-stream"])?;
    let files = service.session_files(&caller.tenant, &id).await?;
    let _changing = still_open(&service, &caller, &id)?;
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
    // Enough is read even of what is refused for most clients to hear why: they listen when they have sent.
    let patience = service.settings.body_bytes;
    let no_room = files.space().is_ok_and(|space| announced > space.free_bytes);
    if no_room && announced > patience {
        return Err(problem(&path, &sys::Error { call: "write", errno: libc::ENOSPC }, &files));
    }
    let mut pieces = Pieces::new(request.into_body(), &service);
    let mut writing = Writing::begin(files, path, executable).await;
    let mut read = 0;
    while let Some(piece) = pieces.next().await? {
        read += piece.len() as u64;
        writing = match writing {
            Ok(writing) => writing.take(piece).await,
            Err(refused) if read > patience => return Err(refused),
            refused => refused,
        };
    }
    Ok(Answer(writing?.finish().await?.into()))
}

/// An upload on its way. No thread is held while the client sends: each piece is written by one that may wait. Dropping it leaves nothing.
struct Writing {
    files: Workspace,
    path: String,
    upload: Upload,
    /// What came and is not written.
    pending: Vec<u8>,
}

impl Writing {
    async fn begin(files: Workspace, path: String, executable: bool) -> Result<Self, Problem> {
        waiting(move || {
            let upload = sys::fs::random().and_then(|random| files.begin(&path, executable, random));
            match upload {
                Ok(upload) => Ok(Self { files, path, upload, pending: Vec::new() }),
                Err(error) => Err(problem(&path, &error, &files)),
            }
        })
        .await
    }

    async fn take(mut self, piece: axum::body::Bytes) -> Result<Self, Problem> {
        self.pending.extend_from_slice(&piece);
        if self.pending.len() < WRITE_BYTES {
            return Ok(self);
        }
        waiting(move || self.write().map(|()| self)).await
    }

    fn write(&mut self) -> Result<(), Problem> {
        let written = self.upload.file.write_all(&self.pending).map_err(sys::Error::of_io("write"));
        self.pending.clear();
        written.map_err(|error| problem(&self.path, &error, &self.files))
    }

    /// Gives it its name.
    async fn finish(mut self) -> Result<Entry, Problem> {
        waiting(move || {
            self.write()?;
            let Self { files, path, upload, .. } = self;
            upload.finish().and_then(|()| files.look(&path)).map_err(|error| problem(&path, &error, &files))
        })
        .await
    }
}

/// Does something in a thread that may wait.
pub async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| internal(error.to_string()))?
}

/// Remove a file of a session, or a directory with all that is in it
#[utoipa::path(delete, path = "/v1/sessions/{id}/files/{*path}", operation_id = "remove_session_file", tag = "sessions",
    params(("id" = String, Path, description = "The session"), ("path" = String, Path, description = "Relative to the workspace")),
    responses((status = 204, description = "It is gone"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn remove(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, path)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let id = session_id(&id)?;
    check_path("path", &path)?;
    with_files(&service, &caller, &id, &path, |files, path| files.look(path)).await?;
    let _changing = still_open(&service, &caller, &id)?;
    with_files(&service, &caller, &id, &path, |files, path| files.remove(path)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Move a file or a directory of a session
#[utoipa::path(post, path = "/v1/sessions/{id}/move", operation_id = "move_session_file", tag = "sessions", params(("id" = String, Path, description = "The session")), request_body = Move,
    responses((status = 200, description = "What is at the new path", body = FileView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn rename(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Json(Move { from, to, replace }): Json<Move>,
) -> Result<Answer<FileView>, Problem> {
    let id = session_id(&id)?;
    check_path("from", &from)?;
    check_path("to", &to)?;
    with_files(&service, &caller, &id, &from, |files, path| files.look(path)).await?;
    let _changing = still_open(&service, &caller, &id)?;
    let moved = with_files(&service, &caller, &id, &to, move |files, to| {
        files.rename(&from, to, replace)?;
        files.look(to)
    });
    Ok(Answer(moved.await?.into()))
}

/// Make a directory in a session
#[utoipa::path(post, path = "/v1/sessions/{id}/directories", operation_id = "make_session_directory", tag = "sessions", params(("id" = String, Path, description = "The session")), request_body = MakeDirectory,
    responses((status = 200, description = "The directory", body = FileView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn make_directory(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Json(MakeDirectory { path }): Json<MakeDirectory>,
) -> Result<Answer<FileView>, Problem> {
    let id = session_id(&id)?;
    check_path("path", &path)?;
    with_files(&service, &caller, &id, "", |files, path| files.look(path)).await?;
    let _changing = still_open(&service, &caller, &id)?;
    let made = with_files(&service, &caller, &id, &path, |files, path| {
        files.make_directory(path)?;
        files.look(path)
    });
    Ok(Answer(made.await?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_has_them() {
        let rows = [
            ("bytes=0-", Range::Part(0, 9)),
            ("bytes=2-4", Range::Part(2, 4)),
            ("bytes=5-99", Range::Part(5, 9)),
            ("bytes=-3", Range::Part(7, 9)),
            ("bytes=-99", Range::Part(0, 9)),
            ("bytes=-0", Range::Nothing),
            ("bytes=10-", Range::Nothing),
            ("bytes=10-11", Range::Nothing),
            ("bytes=4-2", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("lines=1-2", Range::Whole),
            ("bytes=x-y", Range::Whole),
        ];
        for (text, wanted) in rows {
            assert_eq!(range_of(text, 10), wanted, "{text}");
        }
        assert_eq!((range_of("bytes=0-", 0), range_of("bytes=-1", 0)), (Range::Nothing, Range::Nothing));
    }
}
