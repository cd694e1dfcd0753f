//! Builds an image: `build_image DATA_DIRECTORY [NAME]`. Temporary; the command line replaces it.

use std::path::Path;
use std::time::Instant;

use worker::image::{BuildOptions, ImageStore};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = std::env::args().nth(1).ok_or("name a data directory")?;
    let mut options = BuildOptions::new(std::env::var_os("PATH").unwrap_or_default());
    if let Some(name) = std::env::args().nth(2) {
        options.name = name;
    }
    options.python = std::env::args().nth(3).map(Into::into);
    let start = Instant::now();
    let mut phase = None;
    let image = ImageStore::open(Path::new(&data)).build(&options, &mut |step| {
        if phase.replace(step.phase) != Some(step.phase) {
            println!(
                "{:>8.3} s {:?} {} of {}",
                start.elapsed().as_secs_f64(),
                step.phase,
                step.done_bytes,
                step.total_bytes
            );
        }
    })?;
    println!("{:>8.3} s done", start.elapsed().as_secs_f64());
    let store = ImageStore::open(Path::new(&data));
    let start = Instant::now();
    for _ in 0..1000 {
        store.find(&options.name)?.ok_or("lost")?;
    }
    println!("{:>8.1} µs to find", start.elapsed().as_secs_f64() * 1e3);
    println!("{:#?}", image);
    Ok(())
}
