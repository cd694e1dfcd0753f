//! Checks the promises of a finished image: private inodes, no privilege, no writable name, nothing missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::ImageError;
use super::listing::{Item, Listing};
use super::loader::{self, Loader};

/// Returns everything wrong with the tree below `root`, whose programs find their libraries by `loader`; `known` are libraries that
/// the host lacks too.
pub(super) fn problems(
    listing: &Listing,
    root: &Path,
    loader: &Loader,
    known: &BTreeSet<String>,
) -> Result<Vec<String>, ImageError> {
    let mut problems = Vec::new();
    for item in &listing.items {
        problems.extend(kind(item).map(|what| format!("/{}: {what}", item.path)));
        if let Some(target) = &item.target {
            problems.extend(link(root, item, target).map(|what| format!("/{}: {what}", item.path)));
        }
        if item.elf {
            let missing = libraries(loader, root, &item.path)?;
            let missing = missing.into_iter().filter(|name| !known.contains(name));
            problems.extend(missing.map(|name| format!("/{}: needs {name}", item.path)));
        }
    }
    Ok(problems)
}

fn kind(item: &Item) -> Option<String> {
    match item.kind {
        'f' if item.links != 1 => Some(format!("has {} hard links", item.links)),
        'f' | 'd' if item.mode & 0o7000 != 0 => Some(format!("has mode {:o}", item.mode)),
        'f' | 'd' if item.mode & 0o222 != 0 => Some(format!("is writable, mode {:o}", item.mode)),
        'f' | 'd' if item.mode & 0o444 != 0o444 => Some(format!("is not readable, mode {:o}", item.mode)),
        'f' | 'd' | 'l' => None,
        other => Some(format!("is of type {other}")),
    }
}

/// A link must stay in the image and name something, unless it names what `/proc` will hold.
fn link(root: &Path, item: &Item, target: &Path) -> Option<String> {
    if target.starts_with("/proc") {
        return None;
    }
    if target.is_absolute() {
        return Some(format!("is an absolute link to {}", target.display()));
    }
    let mut inside = PathBuf::from(&item.path);
    inside.pop();
    for part in target.components() {
        match part {
            Component::ParentDir if !inside.pop() => return Some("is a link out of the image".to_owned()),
            Component::Normal(name) => inside.push(name),
            _ => {}
        }
    }
    let dangling = !inside.starts_with("proc") && fs::metadata(root.join(&inside)).is_err();
    dangling.then(|| format!("is a dangling link to {}", target.display()))
}

fn libraries(loader: &Loader, root: &Path, path: &str) -> Result<Vec<String>, ImageError> {
    let Some(needs) = loader::needs(&root.join(path))? else { return Ok(Vec::new()) };
    let origin = Path::new("/").join(path);
    let lost = |name: &&String| loader.find(name, &needs, &origin).is_none();
    Ok(needs.libraries.iter().chain(&needs.interpreter).filter(lost).cloned().collect())
}
