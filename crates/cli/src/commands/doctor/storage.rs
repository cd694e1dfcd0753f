//! The data directory and the image in it.

use super::check::{Check, Group, Severity};
use crate::commands::image::ensure;
use crate::env::Settings;
use sandbox::probe::{Failure, Found, Trial};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use worker::image::pythons::{PythonSettings, Pythons};
use worker::image::{DEFAULT_NAME, Image, ImageStore};
use worker::template::Template;

/// Room that a new image and its making take, and more than an image that is there needs.
const ROOM_BYTES: u64 = 1 << 30;
/// A clock before this has never been set: 2025 in UTC, older than this program.
const SANE_CLOCK_S: u64 = 1_735_689_600;
/// Most time to build an image, and to read one again.
const BUILD_MS: u64 = 120_000;
const VERIFY_MS: u64 = 30_000;

/// Looks at the data directory, and at the image, which is built if it is not there and may be.
pub fn checks(settings: &Settings, may_build: bool) -> (Vec<Check>, Option<Image>) {
    let store = ImageStore::open(&settings.data);
    let present = store.find(DEFAULT_NAME).ok().flatten().filter(Image::is_current);
    let directory = directory(&settings.data, present.is_some());
    let may_build = may_build && directory.ok;
    let mut checks = vec![directory, file_system(&settings.data), space(&settings.data), clock()];
    let begun = Instant::now();
    let (image, found) = match present {
        Some(image) => {
            let day = image.manifest.created_at.split('T').next().unwrap_or_default();
            let found = format!("{}, built {day}", short(&image));
            (Some(image), Some(Ok(found)))
        }
        None if may_build => match build(&store, settings) {
            Ok(image) => {
                let found = format!("{}, built now in {:.1} s", short(&image), begun.elapsed().as_secs_f64());
                (Some(image), Some(Ok(found)))
            }
            Err(failure) => (None, Some(Err(failure))),
        },
        None => (None, None),
    };
    checks.push(presence(found, &settings.data));
    if let Some(image) = &image {
        checks.extend([fresh(image), digest(&store, image), private(image)]);
    }
    checks.extend(languages(image.as_ref()));
    checks.extend([others(image.as_ref(), settings), declared(settings)]);
    (checks, image)
}

/// Builds the image in a child, so that a disk that hangs, or a lock that is never let go, does not keep the doctor.
fn build(store: &ImageStore, settings: &Settings) -> Result<Image, Failure> {
    let trial = Trial { patience_ms: BUILD_MS, ..Trial::default() };
    trial.perform(|| {
        ensure(DEFAULT_NAME, settings)
            .map(|_| String::new())
            .map_err(|error| Failure::of(format!("{error:#}")))
    })?;
    let image = store.find(DEFAULT_NAME).map_err(|error| Failure::of(error.to_string()))?;
    image.ok_or_else(|| Failure::of("built, and not found again"))
}

fn check(id: &'static str, title: &'static str) -> Check {
    Check::new(Group::Image, id, title)
}

fn short(image: &Image) -> String {
    image.digest.chars().take("sha256:".len() + 12).collect()
}

fn directory(data: &Path, image_is_there: bool) -> Check {
    let path = data.display();
    let written =
        Trial::default().perform(|| Ok(write_and_remove(data).map(|()| format!("{path}, writable"))?));
    let found = match written {
        Err(_) if image_is_there => Ok(format!("{path}, read-only, with an image in it")),
        other => other,
    };
    check("data-directory", "data directory")
        .needs("writable, or an image in it")
        .matters(Severity::Required, "no image can be built, and without one nothing runs")
        .found(found, |failure| {
            format!(
                "a directory of your own: fireclay --data DIR, or FIRECLAY_DATA=DIR; now {path}: {failure}"
            )
        })
}

fn write_and_remove(data: &Path) -> std::io::Result<()> {
    fs::create_dir_all(data)?;
    let probe = data.join(format!(".doctor-{}", std::process::id()));
    fs::write(&probe, "probe")?;
    fs::remove_file(&probe)
}

/// Names of file systems by the numbers of `statfs(2)`, and whether they serve well below an overlay.
const FILE_SYSTEMS: [(i64, &str, bool); 13] = [
    (0xef53, "ext4", true),
    (0x5846_5342, "xfs", true),
    (0x9123_683e, "btrfs", true),
    (0x0102_1994, "tmpfs", true),
    (0x794c_7630, "overlay", true),
    (0x2fc1_2fc1, "zfs", true),
    (0xf2f5_2010, "f2fs", true),
    (0xca45_1a4e, "bcachefs", true),
    (0x6969, "nfs", false),
    (0x6573_5546, "fuse", false),
    (0x0102_1997, "9p", false),
    (0xff53_4d42, "cifs", false),
    (0xfe53_4d42, "smb2", false),
];

fn nearest(data: &Path) -> Option<fs::File> {
    data.ancestors().find_map(|path| fs::File::open(path).ok())
}

fn file_system(data: &Path) -> Check {
    let number = nearest(data).and_then(|file| sys::mount::file_system_type(file.as_fd()).ok());
    let known = FILE_SYSTEMS.iter().find(|(id, _, _)| Some(*id) == number);
    let (name, fit) = known.map_or_else(
        || (number.map_or("unknown".to_owned(), |id| format!("{id:#x}")), true),
        |(_, name, fit)| ((*name).to_owned(), *fit),
    );
    check("file-system", "its file system")
        .needs("a local one")
        .matters(Severity::Advice, "programs start slowly, and an overlay may be refused")
        .read(name, fit, "fireclay --data DIR, with DIR on a local disk")
}

fn space(data: &Path) -> Check {
    let free =
        nearest(data).and_then(|file| sys::fs::space(file.as_fd()).ok()).map_or(0, |space| space.free_bytes);
    check("disk-space", "free space")
        .needs(gigabytes(ROOM_BYTES))
        .matters(Severity::Advice, "an image may not fit")
        .read(gigabytes(free), free >= ROOM_BYTES, "make room, or fireclay --data DIR on another disk")
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

fn clock() -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    check("clock", "clock")
        .needs("set")
        .matters(Severity::Advice, "results carry wrong times, and certificates seem invalid")
        .read(worker::run::now(), now >= SANE_CLOCK_S, "timedatectl set-ntp true")
}

/// The image; `None` when there is none and none was to be built.
fn presence(found: Option<Found>, data: &Path) -> Check {
    let check = check("image", "image")
        .needs("one that this version built")
        .matters(Severity::Required, "nothing runs without one");
    match found {
        Some(found) => check.found(found, |_| format!("fireclay --data {} image build", data.display())),
        None => check.not_tried("none there, and something above failed"),
    }
}

fn fresh(image: &Image) -> Check {
    let (have, fresh) = if image.is_stale() {
        ("the machine's have changed since", false)
    } else {
        ("as the machine's", true)
    };
    check("image-fresh", "its interpreters")
        .needs("as the machine's")
        .matters(Severity::Advice, "programs run with an older interpreter than this machine has")
        .read(have, fresh, "fireclay image build")
}

fn digest(store: &ImageStore, image: &Image) -> Check {
    let begun = Instant::now();
    let found = Trial { patience_ms: VERIFY_MS, ..Trial::default() }.perform(|| {
        let differences = store.verify(image).map_err(|error| Failure::of(error.to_string()))?;
        match differences.first() {
            None => Ok(format!("{} files read in {} ms", image.manifest.files, begun.elapsed().as_millis())),
            Some(first) => Err(Failure::of(format!(
                "{} differences, such as {} {:?}",
                differences.len(),
                first.path,
                first.change
            ))),
        }
    });
    check("image-digest", "its content")
        .needs("every file as its digest says")
        .matters(Severity::Degrading, "programs run in something else than their receipts name")
        .found(found, |_| format!("fireclay image remove {} && fireclay image build", short(image)))
}

/// No interpreter of the image is a file that the machine also runs: a page-cache bug then reaches no program of the host.
fn private(image: &Image) -> Check {
    let identity = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino(), meta.nlink()));
    let host: Vec<_> =
        image.manifest.host.programs.iter().filter_map(|program| identity(&program.path).ok()).collect();
    let runtimes = &image.manifest.runtimes;
    let inside = [runtimes.python.as_ref(), runtimes.node.as_ref(), Some(&runtimes.bash)];
    let mut shared = Vec::new();
    for runtime in inside.into_iter().flatten() {
        let path = image.rootfs.join(runtime.path.strip_prefix("/").unwrap_or(&runtime.path));
        match identity(&path) {
            Ok((dev, ino, 1))
                if !host.iter().any(|(host_dev, host_ino, _)| (dev, ino) == (*host_dev, *host_ino)) => {}
            Ok(_) => shared.push(format!("{} is shared", runtime.path.display())),
            Err(error) => shared.push(format!("{}: {error}", runtime.path.display())),
        }
    }
    let found = if shared.is_empty() {
        Ok("no inode is the machine's".to_owned())
    } else {
        Err(Failure::of(shared.join(", ")))
    };
    check("image-private", "its inodes")
        .needs("none that the machine uses")
        .matters(
            Severity::Degrading,
            "a kernel bug that writes to readable files would reach programs of the machine",
        )
        .found(found, |_| format!("fireclay image remove {} && fireclay image build", short(image)))
}

/// Pythons that runs may ask for besides the image's.
fn others(image: Option<&Image>, settings: &Settings) -> Check {
    let check = check("pythons", "other Pythons")
        .needs("found on this machine")
        .matters(Severity::Advice, "runs that ask for another version are rejected");
    let Some(image) = image else { return check.not_tried("no image") };
    let detected = PythonSettings { detect: true, ..PythonSettings::default() };
    let pythons = Pythons::new(image.clone(), &settings.data, settings.path.clone(), detected);
    let versions: Vec<String> = pythons.listed().into_iter().map(|python| python.version).collect();
    let found = match versions.is_empty() {
        true => Err(Failure::of("none besides the image's")),
        false => Ok(versions.join(", ")),
    };
    check.found(found, |_| "install one, or name it in the setting python.paths".to_owned())
}

/// Declared languages whose tools are here.
fn declared(settings: &Settings) -> Check {
    let check = check("declared-languages", "compiled and other languages")
        .needs("their tools on this machine")
        .matters(Severity::Advice, "programs of the others are rejected");
    let (mut here, mut packages) = (Vec::new(), Vec::new());
    for template in Template::all() {
        match &template.declared {
            Some(declared) if declared.missing(&settings.path).is_empty() => here.push(template.name),
            Some(declared) => packages.push(declared.debian.clone()),
            None => {}
        }
    }
    let found = match here.is_empty() {
        true => Err(Failure::of("none")),
        false => Ok(here.join(", ")),
    };
    check.found(found, |_| format!("apt-get install {} (or your system's way)", packages.join(" ")))
}

fn languages(image: Option<&Image>) -> Vec<Check> {
    let of = |id, title, version: Option<&str>, severity, package: &str| {
        let check = check(id, title)
            .needs("found for the image")
            .matters(severity, format!("{title} programs are rejected"));
        if image.is_none() {
            return check.not_tried("no image");
        }
        let found = version.map(str::to_owned).ok_or_else(|| Failure::of("not found on this machine"));
        check.found(found, |_| {
            format!("apt-get install {package} (or your system's way), then fireclay image build")
        })
    };
    let runtimes = image.map(|image| &image.manifest.runtimes);
    let python =
        runtimes.and_then(|runtimes| runtimes.python.as_ref()).map(|runtime| runtime.version.as_str());
    let node = runtimes.and_then(|runtimes| runtimes.node.as_ref()).map(|runtime| runtime.version.as_str());
    let bash = runtimes.map(|runtimes| runtimes.bash.version.as_str());
    vec![
        of("python", "Python", python, Severity::Degrading, "python3"),
        of("node", "JavaScript", node, Severity::Advice, "nodejs"),
        of("bash", "bash", bash, Severity::Degrading, "bash"),
    ]
}
