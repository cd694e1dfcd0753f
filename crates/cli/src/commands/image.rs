//! `fireclay image`: builds, lists, shows and removes images.

use crate::args::{ImageArguments, ImageCommand};
use crate::commands::progress::Bar;
use crate::env::Settings;
use anyhow::Context;
use model::{Rejection, units};
use std::fs::File;
use worker::image::{BuildOptions, DEFAULT_NAME, Image, ImageStore};

/// Carries out one command on images.
pub fn image(arguments: &ImageArguments, settings: &Settings) -> anyhow::Result<u8> {
    let store = ImageStore::open(&settings.data);
    match &arguments.command {
        ImageCommand::Build { name, python, node } => {
            let mut options = BuildOptions::new(&settings.path);
            options.name.clone_from(name);
            options.python.clone_from(python);
            options.node.clone_from(node);
            let bar = Bar::new("image", settings.color);
            let built = store.build(&options, &mut |progress| bar.show(progress));
            bar.finish();
            let built = built.context("build the image")?;
            println!("{name} {}", built.digest);
            Ok(0)
        }
        ImageCommand::List { json } => list(&store, *json),
        ImageCommand::Show { image, json, verify } => show(&store, image, *json, *verify),
        ImageCommand::Remove { image } => {
            if find(&store, image).is_err() && store.find(image).is_ok() {
                return Err(unknown(image).into());
            }
            match store.remove(image)? {
                Some(digest) => println!("removed {digest}"),
                None => println!("removed the name {image}; its image has other names"),
            }
            Ok(0)
        }
    }
}

/// The image of a name or digest, held so that nobody removes it meanwhile; the default one is built if it is not there, with a
/// progress bar.
pub fn ensure(name: &str, settings: &Settings) -> anyhow::Result<(Image, File)> {
    let store = ImageStore::open(&settings.data);
    // It may be replaced between being found and being held: then the new one is found.
    loop {
        let image = if name == DEFAULT_NAME {
            ensure_default(&store, settings)?
        } else {
            find_current(&store, name)?
        };
        if let Some(hold) = image.hold()? {
            return Ok((image, hold));
        }
    }
}

fn ensure_default(store: &ImageStore, settings: &Settings) -> anyhow::Result<Image> {
    let bar = Bar::new("image", settings.color);
    let image = store.ensure(&BuildOptions::new(&settings.path), &mut |progress| bar.show(progress));
    bar.finish();
    image.context("make the default image")
}

/// A named image is its maker's to rebuild: nobody else knows of what.
fn find_current(store: &ImageStore, name: &str) -> anyhow::Result<Image> {
    let image = find(store, name)?;
    if image.is_current() {
        return Ok(image);
    }
    let hint = format!("`fireclay image build --name {name}` makes it anew");
    Err(Rejection::new("image", format!("{name:?} was made by another version of fireclay"), hint).into())
}

fn find(store: &ImageStore, name: &str) -> anyhow::Result<Image> {
    store.find(name)?.ok_or_else(|| unknown(name).into())
}

fn unknown(name: &str) -> Rejection {
    Rejection::new(
        "image",
        format!("there is no image {name:?}"),
        "`fireclay image list` shows those there are",
    )
}

fn list(store: &ImageStore, json: bool) -> anyhow::Result<u8> {
    let images = store.list()?;
    if json {
        let rows: Vec<_> = images
            .iter()
            .map(|(image, names)| {
                serde_json::json!({"digest": image.digest, "names": names, "created_at": image.manifest.created_at,
                    "bytes": image.manifest.bytes, "files": image.manifest.files, "runtimes": image.manifest.runtimes})
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(0);
    }
    println!("{:<20} {:<19} {:>9}  {:<20} RUNTIMES", "NAME", "DIGEST", "SIZE", "CREATED");
    for (image, names) in images {
        let names = if names.is_empty() { "-".to_owned() } else { names.join(",") };
        let created: String = image.manifest.created_at.chars().take(19).collect();
        println!(
            "{names:<20} {:.19} {:>6} MB  {created:<20} {}",
            image.digest,
            image.manifest.bytes / 1_000_000,
            runtimes(&image)
        );
    }
    Ok(0)
}

fn runtimes(image: &Image) -> String {
    let runtimes = &image.manifest.runtimes;
    let all = [
        ("python", runtimes.python.as_ref()),
        ("node", runtimes.node.as_ref()),
        ("bash", Some(&runtimes.bash)),
    ];
    let present =
        all.iter().filter_map(|(name, runtime)| Some(format!("{name} {}", runtime.as_ref()?.version)));
    present.collect::<Vec<_>>().join(", ")
}

fn show(store: &ImageStore, name: &str, json: bool, verify: bool) -> anyhow::Result<u8> {
    let image = find(store, name)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&image.manifest)?);
    } else {
        println!("digest    {}", image.digest);
        println!("created   {}", image.manifest.created_at);
        println!("from      {}", image.manifest.host.system);
        println!("content   {} files, {}", image.manifest.files, units::format_bytes(image.manifest.bytes));
        println!("runtimes  {}", runtimes(&image));
        println!("tools     {}", image.manifest.tools.join(" "));
        println!("absent    {}", image.manifest.absent_tools.join(" "));
        image.manifest.warnings.iter().for_each(|warning| println!("warning   {warning}"));
        if image.is_stale() {
            println!(
                "stale     an interpreter of this machine has changed since; `fireclay image build` makes a new one"
            );
        }
    }
    if !verify {
        return Ok(0);
    }
    let differences = store.verify(&image)?;
    for difference in &differences {
        eprintln!("fireclay: {difference:?}");
    }
    anyhow::ensure!(
        differences.is_empty(),
        "the image differs from its digest in {} places",
        differences.len()
    );
    println!("verified  every file is as its digest says");
    Ok(0)
}
