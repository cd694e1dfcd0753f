//! `fireclay observe`: where to look at what ran; starts a local server if none serves the data directory.

use crate::args::ObserveArguments;
use crate::client::Client;
use crate::commands::local::show;
use crate::env::Settings;
use crate::local;
use model::Rejection;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Does what is asked; answers the exit code.
pub fn observe(arguments: &ObserveArguments, settings: &Settings) -> anyhow::Result<u8> {
    let wanted = match (arguments.host, arguments.port) {
        (None, None) => None,
        (host, port) => {
            Some(SocketAddr::new(host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port.unwrap_or(0)))
        }
    };
    let serving = local::start_at(settings, wanted)?;
    let elsewhere = wanted.filter(|wanted| {
        let port = wanted.port() != 0 && wanted.port() != serving.address.port();
        port || wanted.ip() != serving.address.ip()
    });
    if let Some(wanted) = elsewhere {
        let message = format!("{} serves this data directory already, not {wanted}", serving.url());
        let hint = "look there, or end it first: `fireclay local stop`";
        return Err(Rejection::new("--port", message, hint).into());
    }
    show(&serving, arguments.json);
    if !arguments.json {
        // Without it the page asks for a key.
        let client = Client::to_serving(&serving, settings.api_key.clone())?;
        match client.call::<Value>("POST", "/console/links", Some(&json!({}))) {
            Ok(link) => {
                let path = link["path"].as_str().unwrap_or_default();
                println!("{}{path}", serving.url());
                eprintln!("fireclay: the link logs in once, within five minutes");
            }
            Err(error) => eprintln!("fireclay: no link that logs in: {error:#}"),
        }
    }
    Ok(0)
}
