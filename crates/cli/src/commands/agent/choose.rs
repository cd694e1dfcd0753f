//! Who is asked, and with which key: what the arguments say, else whose key is there, else what a person chooses at the terminal.

use crate::args::TaskArguments;
use crate::commands::secret;
use crate::env::{self, Settings};
use agent::{Provider, Redactor, Row, Secret, rows};
use anyhow::Context;
use model::Rejection;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Where Ollama listens, unless it is told otherwise.
const OLLAMA: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 11434);
/// How long it is looked for.
const OLLAMA_PATIENCE: Duration = Duration::from_millis(500);

/// Who was chosen.
pub struct Chosen {
    /// Who is asked.
    pub provider: Provider,
    /// Who judges code, if that is another model.
    pub reviewer: Option<Provider>,
    /// Knows every key that is here.
    pub redactor: Redactor,
}

impl Chosen {
    /// Chooses.
    pub fn of(arguments: &TaskArguments, settings: &Settings) -> anyhow::Result<Self> {
        let mut keys = Keys { kept: secret::read(&settings.data)?, typed: None };
        let (row, model) = match &arguments.model {
            Some(words) => Row::of_words(words)?,
            None => default(arguments, &mut keys, settings)?,
        };
        let provider = keys.provider(row, model, arguments.base_url.as_deref(), settings)?;
        let reviewer = arguments.review_model.as_deref().map(|words| {
            let (other, model) = Row::of_words(words)?;
            // One base URL is one provider's.
            let base_url = arguments.base_url.as_deref().filter(|_| std::ptr::eq(other, row));
            keys.provider(other, model, base_url, settings)
        });
        Ok(Self { provider, reviewer: reviewer.transpose()?, redactor: keys.redactor(settings) })
    }
}

/// Every key that can be had.
struct Keys {
    kept: BTreeMap<String, String>,
    /// Just given at the terminal: the variable, and its value.
    typed: Option<(String, String)>,
}

impl Keys {
    fn of(&self, row: &Row) -> Option<String> {
        let typed =
            |name: &str| self.typed.as_ref().filter(|(own, _)| own == name).map(|(_, value)| value.clone());
        let of =
            |name: &&str| env::key_in(name).or_else(|| typed(name)).or_else(|| self.kept.get(*name).cloned());
        row.key_variables.iter().find_map(of)
    }

    fn provider(
        &mut self,
        row: &'static Row,
        model: Option<String>,
        base_url: Option<&str>,
        settings: &Settings,
    ) -> anyhow::Result<Provider> {
        let base_url = base_url.map(str::to_owned).or_else(|| env::key_in(row.base_url_variable));
        let mut key = self.of(row);
        // A place of one's own may want none.
        if key.is_none() && base_url.is_none() && !row.key_variables.is_empty() {
            if !std::io::stdin().is_terminal() {
                let names = row.key_variables.join(" or ");
                let hint =
                    format!("set {names}, or keep it with `fireclay secret set {}`", row.key_variables[0]);
                return Err(
                    Rejection::new("--model", format!("there is no key for {}", row.name), hint).into()
                );
            }
            key = Some(self.ask_for_key(row, settings)?);
        }
        let proxy = env::proxy();
        Ok(Provider::new(row, model, base_url.as_deref(), key.map(Secret::new), proxy.as_deref())?)
    }

    fn ask_for_key(&mut self, row: &Row, settings: &Settings) -> anyhow::Result<String> {
        let name = row.key_variables[0];
        let value =
            secret::hidden_line(&format!("The key for {} ({name}; it is kept for next time): ", row.name))?;
        if value.is_empty() {
            return Err(Rejection::new(name, "no key was given", "paste it, or set the variable").into());
        }
        secret::keep(&settings.data, name, &value)?;
        self.typed = Some((name.to_owned(), value.clone()));
        Ok(value)
    }

    fn redactor(&self, settings: &Settings) -> Redactor {
        let variables = rows().iter().flat_map(|row| row.key_variables).filter_map(|name| env::key_in(name));
        let kept = self.kept.values().cloned().chain(self.typed.iter().map(|(_, value)| value.clone()));
        Redactor::new(variables.chain(kept).chain(settings.api_key.clone()).map(Secret::new))
    }
}

/// OpenAI, if nothing says otherwise; else the first provider whose key is there; else whom a person chooses.
fn default(
    arguments: &TaskArguments,
    keys: &mut Keys,
    settings: &Settings,
) -> anyhow::Result<(&'static Row, Option<String>)> {
    let first = &rows()[0];
    if arguments.base_url.is_some() || env::key_in(first.base_url_variable).is_some() {
        return Ok((first, None));
    }
    if let Some(row) = rows().iter().find(|row| keys.of(row).is_some()) {
        return Ok((row, None));
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let mut names: Vec<&str> =
            rows().iter().filter_map(|row| row.key_variables.first().copied()).collect();
        names.dedup();
        let hint = format!("set one of {}, or say --model ollama or --base-url", names.join(", "));
        return Err(Rejection::new("--model", "there is no key of any provider", hint).into());
    }
    choose(keys, settings)
}

/// Has a person choose.
fn choose(keys: &mut Keys, settings: &Settings) -> anyhow::Result<(&'static Row, Option<String>)> {
    let local = local_model();
    let offered: Vec<&Row> = rows()
        .iter()
        .filter(|row| row.name != "openai-responses" && (row.name != "ollama" || local.is_some()))
        .collect();
    eprintln!("No key of a provider is set. Who should be asked?");
    for (at, row) in offered.iter().enumerate() {
        let model =
            if row.name == "ollama" { local.as_deref().unwrap_or_default() } else { row.default_model };
        eprintln!("  {}  {:<11} {model}", at + 1, row.name);
    }
    eprint!("Number: ");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("read the terminal")?;
    let chosen = line.trim().parse::<usize>().ok().and_then(|number| offered.get(number.checked_sub(1)?));
    let Some(row) = chosen.copied() else {
        return Err(Rejection::new(
            "--model",
            format!("{:?} is none of them", line.trim()),
            "say one of the numbers",
        )
        .into());
    };
    if !row.key_variables.is_empty() {
        keys.ask_for_key(row, settings)?;
    }
    // The table outlives us, and what was offered is of it.
    let (row, _) = Row::of_words(row.name)?;
    Ok((row, local.filter(|_| row.name == "ollama")))
}

/// The first model that an Ollama of this machine has.
fn local_model() -> Option<String> {
    TcpStream::connect_timeout(&OLLAMA, OLLAMA_PATIENCE).ok()?;
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(OLLAMA_PATIENCE)).proxy(None).build().into();
    let text =
        agent.get(format!("http://{OLLAMA}/api/tags")).call().ok()?.body_mut().read_to_string().ok()?;
    let listed: Value = serde_json::from_str(&text).ok()?;
    listed["models"][0]["name"].as_str().map(str::to_owned)
}
