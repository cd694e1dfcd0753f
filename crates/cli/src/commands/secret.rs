//! `fireclay secret`: keys of providers, in a file that only its owner can read; and secrets for code, with the service that keeps them.

use crate::args::{SecretArguments, SecretCommand};
use crate::client::Client;
use crate::env::Settings;
use crate::local;
use anyhow::Context;
use model::Rejection;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The file, in the data directory.
const FILE: &str = "secrets.json";
/// Longest value.
const VALUE_BYTES_MAX: u64 = 16 << 10;
/// Most secrets.
const SECRETS_MAX: usize = 1_000;

/// Does what is asked; answers the exit code.
pub fn secret(arguments: &SecretArguments, settings: &Settings) -> anyhow::Result<u8> {
    let mut secrets = read(&settings.data)?;
    match &arguments.command {
        SecretCommand::Set { name, hosts } if !hosts.is_empty() => {
            let asked = json!({"value": typed(name)?, "hosts": hosts});
            let client = match service(settings)? {
                Some(client) => client,
                None => Client::to_serving(&local::start(settings)?, settings.api_key.clone())?,
            };
            client.call::<Value>("PUT", &path(name), Some(&asked)).map(drop)?;
        }
        SecretCommand::Set { name, .. } => {
            secrets.insert(checked(name)?, typed(name)?);
            write(&settings.data, &secrets)?;
        }
        SecretCommand::List => {
            secrets.keys().for_each(|name| println!("{name}"));
            for kept in of_code(settings)? {
                println!("{}  {}", kept.name, kept.hosts.join(" "));
            }
        }
        SecretCommand::Remove { name } => {
            let for_code = of_code(settings)?.iter().any(|kept| kept.name == *name);
            if for_code && let Some(client) = service(settings)? {
                client.call::<Value>("DELETE", &path(name), None).map(drop)?;
            }
            if secrets.remove(name).is_none() && !for_code {
                let hint = "`fireclay secret list` says which there are";
                return Err(Rejection::new("NAME", format!("there is no secret {name:?}"), hint).into());
            }
            write(&settings.data, &secrets)?;
        }
    }
    Ok(0)
}

/// A secret for code, as the service tells of it.
#[derive(Deserialize)]
struct Kept {
    name: String,
    hosts: Vec<String>,
}

#[derive(Deserialize)]
struct KeptList {
    items: Vec<Kept>,
}

/// The service that is named, or that has the data directory; `None` if there is none.
fn service(settings: &Settings) -> anyhow::Result<Option<Client>> {
    match &settings.url {
        Some(url) => Client::at(url, settings.api_key.clone()).map(Some),
        None => Ok(Client::of(&settings.data, settings.api_key.clone()).ok()),
    }
}

/// Those that the service keeps for code; none if there is no service.
fn of_code(settings: &Settings) -> anyhow::Result<Vec<Kept>> {
    let Some(client) = service(settings)? else { return Ok(Vec::new()) };
    Ok(client.call::<KeptList>("GET", "/v1/secrets", None)?.items)
}

fn path(name: &str) -> String {
    format!("/v1/secrets/{}", percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC))
}

fn checked(name: &str) -> Result<String, Rejection> {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || name.len() > 128 || !name.bytes().all(fits) || name.as_bytes()[0].is_ascii_digit() {
        let hint = "use capital letters, digits and underscores, such as OPENAI_API_KEY";
        return Err(Rejection::new("NAME", format!("{name:?} is no name of a secret"), hint));
    }
    Ok(name.to_owned())
}

/// Reads a value from standard input; from a terminal one line, which is not shown.
fn typed(name: &str) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let value = if stdin.is_terminal() {
        hidden_line(&format!("{name}: "))?
    } else {
        let mut text = String::new();
        stdin.lock().take(VALUE_BYTES_MAX + 1).read_to_string(&mut text).context("read standard input")?;
        text
    };
    let value = value.trim();
    if value.is_empty() || value.len() as u64 > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
        let hint = "give one line of at most 16 KiB on standard input";
        return Err(Rejection::new(name, "the value is empty, too long or more than a line", hint).into());
    }
    Ok(value.to_owned())
}

/// Asks for a line on the terminal and does not show what is typed.
pub fn hidden_line(prompt: &str) -> anyhow::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).context("ask the terminal")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent).context("silence the terminal")?;
    // Only now: what is typed before is neither hidden nor kept.
    eprint!("{prompt}");
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Now, &before).context("restore the terminal")?;
    eprintln!();
    read.context("read the terminal")?;
    Ok(line.trim().to_owned())
}

/// All secrets of a data directory. A file that others can read is refused: it is not known who did.
pub fn read(data: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let path = data.join(FILE);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let mode = file.metadata().with_context(|| format!("look at {}", path.display()))?.mode();
    if mode & 0o077 != 0 {
        let message = format!("others can read it (mode {:o})", mode & 0o777);
        let hint = "renew the keys in it, then chmod 600";
        return Err(Rejection::new(path.display().to_string(), message, hint).into());
    }
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))
}

/// Keeps a secret.
pub fn keep(data: &Path, name: &str, value: &str) -> anyhow::Result<()> {
    let mut secrets = read(data)?;
    secrets.insert(checked(name)?, value.to_owned());
    write(data, &secrets)
}

/// Writes beside the file and renames: what breaks off leaves the old secrets.
fn write(data: &Path, secrets: &BTreeMap<String, String>) -> anyhow::Result<()> {
    if secrets.len() > SECRETS_MAX {
        return Err(Rejection::new(
            "NAME",
            format!("{SECRETS_MAX} secrets are there already"),
            "remove some",
        )
        .into());
    }
    // As the store makes it.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| format!("make {}", data.display()))?;
    let (path, part) = (data.join(FILE), data.join(format!("{FILE}.part-{}", std::process::id())));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .with_context(|| format!("make {}", part.display()))?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(serde_json::to_string_pretty(secrets)?.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&part, &path))
        .with_context(|| format!("write {}", path.display()))
}
