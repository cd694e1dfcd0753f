//! The language model of a service: the one that its settings name, or why there is none.

#[cfg(feature = "agent")]
mod provider;

use model::Rejection;
use server::models::{Model, NoModel};
use server::settings::ModelSettings;
use std::path::Path;
use std::sync::Arc;

/// The model that the settings name; a key that is missing, or a build that has no models, ends the start.
#[cfg(feature = "agent")]
pub fn of(settings: &ModelSettings, data: &Path) -> anyhow::Result<Result<Arc<dyn Model>, NoModel>> {
    if settings.name.is_empty() {
        let hint = "set `model.name` to provider:model, such as openai:gpt-5-mini, and keep its key with `fireclay secret set`";
        return Ok(Err(none(hint)));
    }
    // `GET /v1/settings` tells it.
    if settings.base_url.contains('@') {
        let hint = "leave out user and password; a key is kept with `fireclay secret set`";
        return Err(Rejection::new("model.base_url", "an address is no place for a secret", hint).into());
    }
    Ok(Ok(Arc::new(provider::Provided::of(settings, data)?)))
}

/// The model that the settings name: this build has none.
#[cfg(not(feature = "agent"))]
pub fn of(settings: &ModelSettings, _: &Path) -> anyhow::Result<Result<Arc<dyn Model>, NoModel>> {
    let hint = "build one that has: cargo install --path crates/cli --features agent; then set `model.name`";
    if settings.name.is_empty() {
        return Ok(Err(none(hint)));
    }
    Err(Rejection::new("model.name", "this build speaks to no models", hint).into())
}

/// The keys of models that are here, so that no trace tells one.
#[cfg(feature = "agent")]
pub fn keys(data: &Path) -> anyhow::Result<Vec<String>> {
    Ok(provider::keys(&crate::commands::secret::read(data)?))
}

/// The keys of models that are here: a build that has no models asks for none.
#[cfg(not(feature = "agent"))]
pub fn keys(_: &Path) -> anyhow::Result<Vec<String>> {
    Ok(Vec::new())
}

/// What so many tokens of a model cost, read and written, in dollars, if its price is known.
#[cfg(feature = "agent")]
pub fn dollars(model: &str, input: u64, output: u64) -> Option<f64> {
    agent::dollars(model, input, output)
}

/// What tokens cost: a build that has no models knows no prices.
#[cfg(not(feature = "agent"))]
pub fn dollars(_: &str, _: u64, _: u64) -> Option<f64> {
    None
}

fn none(hint: &str) -> NoModel {
    NoModel { why: "the service has no language model".to_owned(), hint: hint.to_owned() }
}
