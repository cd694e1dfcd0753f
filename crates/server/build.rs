//! Lists the files of the console, so that each lies in the binary.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let own = env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate lies");
    let assets = Path::new(&own).join("assets/console");
    println!("cargo::rerun-if-changed={}", assets.display());
    let mut files: Vec<_> = fs::read_dir(&assets)
        .expect("the console's files are committed")
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "gz"))
        .collect();
    files.sort();
    let mut rows = String::new();
    for path in files {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("names are ASCII");
        writeln!(rows, "    Asset {{ name: {name:?}, gzip: include_bytes!({path:?}) }},")
            .expect("strings grow");
    }
    let out = env::var("OUT_DIR").expect("cargo says where to write");
    let text = format!("static FILES: &[Asset] = &[\n{rows}];\n");
    fs::write(Path::new(&out).join("console.rs"), text).expect("cargo's directory can be written");
}
