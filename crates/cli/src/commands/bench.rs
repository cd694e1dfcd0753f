//! `fireclay bench`: measures this machine, and prints tables or JSON.

use crate::args::BenchArguments;
use crate::commands::image::ensure;
use crate::env::Settings;
use anyhow::Context;
use bench::client::Address;
use bench::{Options, machine};
use model::Rejection;
use serde_json::json;
use worker::image::DEFAULT_NAME;

/// Measures what was asked for; answers the exit code.
pub fn bench(arguments: &BenchArguments, settings: &Settings) -> anyhow::Result<u8> {
    let service = arguments.url.as_deref().map(|url| address(url, settings)).transpose()?;
    // Built now if there is none, and held until the end.
    let (_, _hold) = ensure(DEFAULT_NAME, settings)?;
    let before = machine();
    let options = Options {
        scenarios: arguments.scenarios.clone(),
        rounds: arguments.rounds as usize,
        seconds: arguments.seconds,
        service,
        program: std::env::current_exe().context("find this program")?,
        data: std::path::absolute(&settings.data)?,
        path: settings.path.clone(),
    };
    let mut tables = Vec::new();
    bench::run(options, &mut |table| {
        if arguments.json {
            tables.push(table.json());
        } else {
            println!("{table}");
        }
    })?;
    if arguments.json {
        let report = json!({"version": env!("CARGO_PKG_VERSION"), "machine": before, "afterwards": machine(),
            "rounds": arguments.rounds, "seconds": arguments.seconds, "tables": tables});
        println!("{report:#}");
    }
    Ok(0)
}

fn address(url: &str, settings: &Settings) -> Result<Address, Rejection> {
    let hint = "use http://HOST:PORT; this program speaks no TLS, a tunnel such as `ssh -L` does";
    Address::of_url(url, settings.api_key.clone())
        .map_err(|error| Rejection::new("url", error.to_string(), hint))
}
