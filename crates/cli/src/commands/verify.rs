//! `fireclay verify`: whether the receipt of a result proves it, in one line.

use crate::args::VerifyArguments;
use crate::client::Client;
use crate::env::Settings;
use anyhow::Context;
use model::{Rejection, RunResult};
use server::http::keys::ReceiptKey;
use server::receipts::{self, Signer};
use std::fs::File;
use std::io::Read;

/// Largest file that is read: results are smaller.
const FILE_BYTES_MAX: u64 = 512 << 20;
/// The receipt does not prove the result.
const NOT_GENUINE: u8 = 1;

/// Checks a receipt; answers the exit code.
pub fn verify(arguments: &VerifyArguments, settings: &Settings) -> anyhow::Result<u8> {
    let result = read(&arguments.file)?;
    let trusted = trusted(arguments, settings)?;
    let fate = match (&result.outcome, &result.fault) {
        (Some(outcome), _) => outcome.to_string(),
        (None, Some(fault)) => format!("fault: {}", fault.message),
        (None, None) => "not settled".to_owned(),
    };
    match receipts::verify(&result, Some(&trusted)) {
        Ok(()) => {
            println!("genuine: {} {fate}, signed with {trusted}", result.id);
            Ok(0)
        }
        Err(wrong) => {
            println!("not genuine: {}: {wrong}", result.id);
            Ok(NOT_GENUINE)
        }
    }
}

fn read(file: &str) -> anyhow::Result<RunResult> {
    let mut text = Vec::new();
    let input: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(File::open(path).with_context(|| format!("open {path}"))?),
    };
    input.take(FILE_BYTES_MAX).read_to_end(&mut text).with_context(|| format!("read {file}"))?;
    serde_json::from_slice(&text).map_err(|error| {
        let hint = "give it what `GET /v1/runs/{id}` answered, unchanged";
        Rejection::new("file", format!("{file} is not a result: {error}"), hint).into()
    })
}

/// The public key that must have signed: nobody is believed because a receipt says so.
fn trusted(arguments: &VerifyArguments, settings: &Settings) -> anyhow::Result<String> {
    if let Some(key) = &arguments.key {
        return Ok(key.clone());
    }
    if let Some(url) = arguments.url.as_ref().or(settings.url.as_ref()) {
        let key: ReceiptKey =
            Client::at(url, settings.api_key.clone())?.call("GET", "/v1/keys/receipt", None)?;
        return Ok(key.public_key);
    }
    let own = Signer::find(&settings.data).context("read the data directory's own key")?;
    own.map(|own| own.public_key()).ok_or_else(|| {
        let message = format!("{} has no key of its own to compare with", settings.data.display());
        Rejection::new("key", message, "name the service with --url, or its public key with --key").into()
    })
}
