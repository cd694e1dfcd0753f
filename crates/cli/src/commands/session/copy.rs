//! `fireclay session cp`: a file or a directory into a session, or out of it.

mod directory;

use super::{id_of, unreadable};
use crate::client::Client;
use anyhow::Context;
use model::{Rejection, SessionId};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Copies; one of the two is in a session.
pub fn copy(client: &Client, from: &str, to: &str) -> anyhow::Result<()> {
    match (there(from), there(to)) {
        (None, Some((session, path))) => put(client, &id_of(client, session)?, from, path),
        (Some((session, path)), None) => {
            let id = id_of(client, session)?;
            if directory::is_one(client, &id, path)? {
                return directory::fetch(client, &id, path, to);
            }
            let mut content = client.file(id.as_str(), path)?;
            match to {
                "-" => save(&mut content, &mut std::io::stdout().lock(), "standard output"),
                _ => fetch(&mut content, path, Path::new(to)),
            }
        }
        _ => {
            let hint =
                "write SESSION:PATH for the one that is in a session; a local name with a colon as ./NAME";
            Err(Rejection::new("FROM, TO", "exactly one of the two must be in a session", hint).into())
        }
    }
}

fn put(client: &Client, id: &SessionId, from: &str, path: &str) -> anyhow::Result<()> {
    let name = Path::new(from).file_name().map(|name| name.to_string_lossy().into_owned());
    if from != "-" && Path::new(from).is_dir() {
        return directory::put(client, id, Path::new(from), path);
    }
    let content: Box<dyn Read> = match from {
        "-" => Box::new(std::io::stdin().lock()),
        _ => Box::new(File::open(from).map_err(|error| unreadable("FROM", from, &error))?),
    };
    // As cp does with a directory.
    let path = match (path, name) {
        ("" | ".", Some(name)) => name,
        (path, Some(name)) if path.ends_with('/') => format!("{path}{name}"),
        (path, _) => path.to_owned(),
    };
    client.put_file(id.as_str(), &path, content)
}

/// What a name means in a session: what has a colon before any slash.
fn there(name: &str) -> Option<(&str, &str)> {
    name.split_once(':').filter(|(session, _)| !session.is_empty() && !session.contains('/'))
}

/// Writes beside the target and renames: what breaks off leaves the old file, not half of the new one.
fn fetch(content: &mut impl Read, path: &str, to: &Path) -> anyhow::Result<()> {
    let to: PathBuf = match Path::new(path).file_name() {
        Some(name) if to.is_dir() => to.join(name),
        _ => to.to_owned(),
    };
    let shown = to.display().to_string();
    let mut part = to.clone().into_os_string();
    part.push(format!(".part-{}", std::process::id()));
    let part = PathBuf::from(part);
    let mut file = File::create_new(&part).with_context(|| format!("make {}", part.display()))?;
    let saved = save(content, &mut file, &shown)
        .and_then(|()| std::fs::rename(&part, &to).with_context(|| format!("make {shown}")));
    if saved.is_err()
        && let Err(error) = std::fs::remove_file(&part)
    {
        eprintln!("fireclay: remove {}: {error}", part.display());
    }
    saved
}

pub(super) fn save(content: &mut impl Read, to: &mut impl Write, name: &str) -> anyhow::Result<()> {
    std::io::copy(content, to).and_then(|_| to.flush()).with_context(|| format!("write {name}"))
}

#[cfg(test)]
mod tests {
    use super::there;

    #[test]
    fn a_colon_before_any_slash_names_a_session() {
        assert_eq!(there("s:a/b"), Some(("s", "a/b")));
        assert_eq!(there("s:"), Some(("s", "")));
        for local in ["./s:a", "a/b:c", ":a", "plain", "-"] {
            assert_eq!(there(local), None, "{local}");
        }
    }
}
