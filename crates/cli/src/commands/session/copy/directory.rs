//! Directories into a session and out of it, as tar archives that are packed while they are sent.

use super::save;
use crate::client::{Client, in_query};
use anyhow::{Context, bail};
use model::SessionId;
use serde_json::Value;
use std::io::{PipeWriter, Write};
use std::path::{Path, PathBuf};

/// Whether a path in a session names a directory.
pub fn is_one(client: &Client, id: &SessionId, path: &str) -> anyhow::Result<bool> {
    let path = trimmed(path);
    if path.is_empty() {
        return Ok(true);
    }
    let (parent, _) = path.rsplit_once('/').unwrap_or(("", path));
    let listed: anyhow::Result<Value> =
        client.call("GET", &format!("/v1/sessions/{id}/files?path={}", in_query(parent)), None);
    // What is not there is told by whoever fetches it.
    let Ok(listed) = listed else { return Ok(false) };
    let items = listed["items"].as_array().into_iter().flatten();
    Ok(items.filter(|item| item["path"] == path).any(|item| item["kind"] == "directory"))
}

/// The path as the service takes it: without what people add to say that it is a directory.
fn trimmed(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    let path = path.strip_prefix("./").unwrap_or(path);
    if path == "." { "" } else { path }
}

/// Copies a directory of ours into a session: to `path`, or into it if it is there.
pub fn put(client: &Client, id: &SessionId, from: &Path, path: &str) -> anyhow::Result<()> {
    let mut target = trimmed(path).to_owned();
    if path.ends_with('/') || is_one(client, id, path)? {
        let whole = from.canonicalize().with_context(|| format!("find {}", from.display()))?;
        let name =
            whole.file_name().and_then(|name| name.to_str()).context("the directory has no name in UTF-8")?;
        target = if target.is_empty() { name.to_owned() } else { format!("{target}/{name}") };
    }
    let (reader, writer) = std::io::pipe().context("make a pipe")?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(|| pack(from, writer));
        let sent = client.put_archive(id.as_str(), &target, reader);
        // Who was refused, or is gone, hears nothing more: that it could not be written is then no news.
        let Ok(packed) = packing.join() else { bail!("packing panicked") };
        sent.and(packed.with_context(|| format!("pack {}", from.display())))
    })
}

fn pack(from: &Path, writer: PipeWriter) -> std::io::Result<()> {
    let mut builder = tar::Builder::new(writer);
    builder.follow_symlinks(false);
    // As a file with holes would be told otherwise.
    builder.sparse(false);
    builder.append_dir_all(".", from)?;
    builder.into_inner()?.flush()
}

/// Copies a directory of a session to `to`, or into it if it is there; as an archive to standard output.
pub fn fetch(client: &Client, id: &SessionId, path: &str, to: &str) -> anyhow::Result<()> {
    let path = trimmed(path);
    let mut archive = client.archive(id.as_str(), path)?;
    if to == "-" {
        return save(&mut archive, &mut std::io::stdout().lock(), "standard output");
    }
    let target: PathBuf = match Path::new(path).file_name() {
        Some(name) if Path::new(to).is_dir() => Path::new(to).join(name),
        _ => PathBuf::from(to),
    };
    std::fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;
    // Names that climb, and links on the way, are not followed by the library; the service sends neither.
    tar::Archive::new(archive).unpack(&target).with_context(|| format!("unpack into {}", target.display()))
}
