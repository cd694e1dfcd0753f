//! Plots that a program shows, as files: each is saved when it comes, under a name that nothing has.

use anyhow::Context;
use model::result::MimeBundle;
use model::{RunResult, base64};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Plots that are saved at most.
const PLOTS_MAX: usize = 100;
/// Names that are tried for one.
const NAMES_MAX: u32 = 10_000;

/// Where plots go, and those that went there.
pub struct Plots {
    directory: Option<PathBuf>,
    /// Of the last one.
    number: Cell<u32>,
    saved: RefCell<Vec<PathBuf>>,
}

impl Plots {
    /// Plots that go to this directory, which is made with the first; nowhere if there is none.
    pub fn new(directory: Option<&Path>) -> Self {
        Self { directory: directory.map(Path::to_owned), number: Cell::new(0), saved: RefCell::default() }
    }

    /// Saves the plots of a run; answers their paths.
    pub fn save(&self, result: &RunResult) -> anyhow::Result<Vec<PathBuf>> {
        let Some(directory) = &self.directory else { return Ok(Vec::new()) };
        let mut paths = Vec::new();
        for bytes in result.displays.iter().chain(&result.result).filter_map(png) {
            if self.saved.borrow().len() == PLOTS_MAX {
                break;
            }
            let (path, mut file) = self.create(directory)?;
            file.write_all(&bytes).with_context(|| format!("write {}", path.display()))?;
            self.saved.borrow_mut().push(path.clone());
            paths.push(path);
        }
        Ok(paths)
    }

    /// A new file: what is there already stays.
    fn create(&self, directory: &Path) -> anyhow::Result<(PathBuf, File)> {
        std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        for _ in 0..NAMES_MAX {
            self.number.set(self.number.get() + 1);
            let path = directory.join(format!("plot-{}.png", self.number.get()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("write {}", path.display())),
            }
        }
        anyhow::bail!("{} has {NAMES_MAX} plots already", directory.display())
    }
}

/// The picture of something that was shown, if it has one.
fn png(shown: &MimeBundle) -> Option<Vec<u8>> {
    base64::decode(&shown.get("image/png").and_then(Value::as_str)?.replace('\n', "")).ok()
}
