//! Words that lie where a sandbox must not see: in any output of one they mean that it did.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Planted words; the files go when this is dropped.
#[derive(Debug)]
pub struct Canaries {
    secret: String,
    files: Vec<PathBuf>,
    /// A service of the host that anyone may speak to, by its path.
    _service: Option<UnixListener>,
}

impl Canaries {
    /// Plants files that anyone may read, in places that sandboxes of other makes see, and in `also`.
    pub fn plant(also: &Path) -> Self {
        let secret =
            format!("CANARY-{}", worker::run::hex(&sys::fs::random().expect("the kernel has randomness")));
        let places = [Path::new("/tmp"), Path::new("/var/tmp"), Path::new("/run"), also];
        // A place that is not ours to write to, as /run for an ordinary user, has none.
        let files = places.iter().filter_map(|place| {
            let path = place.join(&secret);
            fs::write(&path, format!("{secret}-file\n")).ok()?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).ok()?;
            Some(path)
        });
        let mut files: Vec<PathBuf> = files.collect();
        let socket = Path::new("/var/tmp").join(format!("{secret}-socket"));
        let service = UnixListener::bind(&socket).ok();
        files.extend(service.is_some().then_some(socket));
        Self { files, secret, _service: service }
    }

    /// One word for one place.
    pub fn word(&self, place: &str) -> String {
        format!("{}-{place}", self.secret)
    }

    /// Which of the words, if any, is in `text`.
    pub fn seen_in<'t>(&self, text: &'t str) -> Option<&'t str> {
        let at = text.find(&self.secret)?;
        text[at..].split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next()
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        for file in &self.files {
            fs::remove_file(file).expect("nobody else removes a canary");
        }
    }
}
