//! Answers which shared libraries a program loads and where they lie, as the dynamic loader of glibc would (`ld.so(8)`),
//! for the host or for a tree with another root. Also writes the loader's cache for an image, as `ldconfig` would,
//! which needs `chroot` and so root.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::FileHeader;
use object::read::{ReadCache, ReadRef};

use super::{ImageError, at};

/// What a program or library asks of the loader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// The loader itself; absent from libraries.
    pub(super) interpreter: Option<String>,
    pub(super) libraries: Vec<String>,
    /// Directories of DT_RUNPATH, or of DT_RPATH where there is no DT_RUNPATH.
    search: Vec<String>,
    pub(super) soname: Option<String>,
}

/// Reads what an ELF file needs. `None` if the file is no x86-64 ELF file, or a damaged one, which the loader refuses too.
pub(super) fn needs(path: &Path) -> Result<Option<Needs>, ImageError> {
    let file = File::open(path).map_err(at("open", path))?;
    let cache = ReadCache::new(file);
    if cache.read_bytes_at(0, 4) != Ok(b"\x7fELF") {
        return Ok(None);
    }
    Ok(parse(&cache).unwrap_or(None))
}

fn parse<'data, R: ReadRef<'data>>(data: R) -> object::Result<Option<Needs>> {
    let Ok(header) = FileHeader64::<LittleEndian>::parse(data) else { return Ok(None) };
    if header.e_machine.get(LittleEndian) != elf::EM_X86_64 {
        return Ok(None);
    }
    let mut needs = Needs::default();
    for segment in header.program_headers(LittleEndian, data)? {
        use object::read::elf::ProgramHeader;
        if let Some(interpreter) = segment.interpreter(LittleEndian, data)? {
            needs.interpreter = Some(text(interpreter));
        }
    }
    let table = header.sections(LittleEndian, data)?.dynamic_table(LittleEndian, data)?;
    let (mut rpath, mut runpath) = (Vec::new(), None);
    for entry in &table {
        match entry.tag {
            elf::DT_NEEDED => needs.libraries.push(text(table.string(entry)?)),
            elf::DT_SONAME => needs.soname = Some(text(table.string(entry)?)),
            elf::DT_RPATH => rpath = directories(&text(table.string(entry)?)),
            elf::DT_RUNPATH => runpath = Some(directories(&text(table.string(entry)?))),
            _ => {}
        }
    }
    needs.search = runpath.unwrap_or(rpath);
    Ok(Some(needs))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn directories(path: &str) -> Vec<String> {
    path.split(':').filter(|directory| !directory.is_empty()).map(str::to_owned).collect()
}

/// Finds libraries below one root, `/` for the host, or below several that are laid over each other.
pub(super) struct Loader {
    roots: Vec<PathBuf>,
    cache: HashMap<String, String>,
    /// Searched last: where the loader looks without being told, then where the interpreter's own libraries lie.
    defaults: Vec<PathBuf>,
}

impl Loader {
    /// Reads the cache below `root`. `extra` are absolute directories, without the root, whose libraries the process has
    /// loaded already when an extension module asks for them.
    pub(super) fn new(root: &Path, extra: &[PathBuf]) -> Loader {
        let cache =
            fs::read(root.join("etc/ld.so.cache")).map(|bytes| read_cache(&bytes)).unwrap_or_default();
        let standard = [
            "/lib/x86_64-linux-gnu",
            "/usr/lib/x86_64-linux-gnu",
            "/lib64",
            "/usr/lib64",
            "/lib",
            "/usr/lib",
        ];
        let defaults = standard.iter().map(PathBuf::from).chain(extra.iter().cloned()).collect();
        Loader { roots: vec![root.to_path_buf()], cache, defaults }
    }

    /// The same with another tree laid over that root.
    pub(super) fn below(self, layer: &Path) -> Loader {
        let roots = std::iter::once(layer.to_path_buf()).chain(self.roots).collect();
        Loader { roots, ..self }
    }

    /// Returns the absolute path, without the root, of the library `name` as the file at `origin` would get it.
    pub(super) fn find(&self, name: &str, needs: &Needs, origin: &Path) -> Option<PathBuf> {
        if name.contains('/') {
            return self.exists(Path::new(name)).then(|| PathBuf::from(name));
        }
        let home = origin.parent().unwrap_or(origin).to_string_lossy();
        let told = needs.search.iter().map(|directory| {
            PathBuf::from(directory.replace("${ORIGIN}", &home).replace("$ORIGIN", &home)).join(name)
        });
        let cached = self.cache.get(name).map(PathBuf::from);
        let default = self.defaults.iter().map(|directory| directory.join(name));
        told.chain(cached).chain(default).find(|path| self.exists(path))
    }

    fn exists(&self, path: &Path) -> bool {
        // Links in an image are relative, so that following them from outside does not leave it.
        path.strip_prefix("/").is_ok_and(|path| self.roots.iter().any(|root| root.join(path).is_file()))
    }
}

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// FLAG_ELF_LIBC6 | FLAG_X8664_LIB64 of glibc's `sysdeps/generic/ldconfig.h`.
const X86_64: u32 = 0x0303;

/// Reads the x86-64 entries of a loader cache in the format of glibc ≥ 2.2; anything else reads as empty.
pub(super) fn read_cache(bytes: &[u8]) -> HashMap<String, String> {
    // Before 2.32 `ldconfig` put the oldest format first by default; offsets count from the newer header.
    let Some(start) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) else {
        return HashMap::new();
    };
    let bytes = &bytes[start..];
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let string = |at: u32| {
        let tail = bytes.get(at as usize..)?;
        let end = tail.iter().position(|byte| *byte == 0)?;
        Some(text(&tail[..end]))
    };
    let count = number(MAGIC.len()).unwrap_or(0) as usize;
    let mut found = HashMap::new();
    for at in (0..count).map(|index| HEADER + index * ENTRY) {
        let entry =
            || (number(at + 16)? == 0 && number(at + 20)? == 0 && number(at)? == X86_64).then_some(at);
        let pair = entry().and_then(|at| Some((string(number(at + 4)?)?, string(number(at + 8)?)?)));
        if let Some((name, path)) = pair {
            found.entry(name).or_insert(path);
        }
    }
    found
}

/// Writes a loader cache of `(soname, absolute path)` pairs.
pub(super) fn write_cache(libraries: &[(String, String)]) -> Vec<u8> {
    let mut sorted: Vec<_> = libraries.iter().collect();
    // The loader searches by bisection, greatest name first.
    sorted.sort_by(|a, b| compare(&b.0, &a.0).then_with(|| a.1.cmp(&b.1)));
    sorted.dedup_by(|a, b| a.0 == b.0);
    let strings_at = HEADER + sorted.len() * ENTRY;
    let (mut entries, mut strings) = (Vec::new(), Vec::new());
    let mut push = |text: &str| {
        let at = strings_at + strings.len();
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        word(at)
    };
    for (name, path) in sorted.iter().copied() {
        entries.extend(X86_64.to_le_bytes());
        entries.extend(push(name));
        entries.extend(push(path));
        entries.extend([0; 12]);
    }
    let mut cache = MAGIC.to_vec();
    cache.extend(word(sorted.len()));
    cache.extend(word(strings.len()));
    // Little-endian, then padding, no extensions and unused words.
    cache.extend([2, 0, 0, 0]);
    cache.resize(HEADER, 0);
    cache.extend(entries);
    cache.extend(strings);
    cache
}

fn word(number: usize) -> [u8; 4] {
    u32::try_from(number).expect("a cache of a few hundred names is far below 4 GiB").to_le_bytes()
}

/// Orders names as `_dl_cache_libcmp` of glibc does: runs of digits by their value.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        match (x.is_ascii_digit(), y.is_ascii_digit()) {
            (true, true) => {
                let order = digits(&mut a).cmp(&digits(&mut b));
                if order != Ordering::Equal {
                    return order;
                }
            }
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) if x != y => return x.cmp(y),
            (false, false) => (a, b) = (&a[1..], &b[1..]),
        }
    }
    a.len().cmp(&b.len())
}

fn digits(text: &mut &[u8]) -> u64 {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    *text = rest;
    number.iter().fold(0, |value, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_reads_back() {
        let pairs = [("libc.so.6", "/usr/lib/libc.so.6"), ("libz.so.1", "/usr/lib/libz.so.1")];
        let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(read_cache(&write_cache(&pairs)), pairs.into_iter().collect());
    }

    #[test]
    fn a_broken_cache_is_empty() {
        assert!(read_cache(b"").is_empty());
        assert!(read_cache(MAGIC).is_empty());
        let mut claims_much = MAGIC.to_vec();
        claims_much.extend([0xff; 40]);
        assert!(read_cache(&claims_much).is_empty());
    }

    #[test]
    fn digits_compare_by_value() {
        assert_eq!(compare("libfoo.so.10", "libfoo.so.9"), Ordering::Greater);
        assert_eq!(compare("liba.so", "libb.so"), Ordering::Less);
        assert_eq!(compare("libz.so.1", "libz.so.1"), Ordering::Equal);
    }

    #[test]
    fn this_program_is_read() {
        let needs = needs(Path::new("/bin/sh")).unwrap().unwrap();
        assert!(needs.libraries.contains(&"libc.so.6".to_owned()));
        let loader = Loader::new(Path::new("/"), &[]);
        assert!(loader.find("libc.so.6", &needs, Path::new("/bin/sh")).is_some());
    }
}
