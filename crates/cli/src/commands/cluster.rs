//! `fireclay cluster`, `fireclay nodes` and `fireclay worker`: writes what a cluster begins with, and asks a gateway about the nodes of one.

use crate::args::{ClusterCommand, InitArguments, ManyCommand, NodesArguments, NodesCommand};
use crate::client::Client;
use crate::commands::serve::working::worker;
use crate::env::{self, Settings};
use anyhow::Context;
use cluster::setup::{Plan, Server, Tls};
use serde::Deserialize;
use serde_json::Value;

/// From a server's port for nodes to its port for other servers, as 4222 and 6222 are NATS' own.
const TO_ROUTES: u16 = 2000;

/// Carries out one command on many machines.
pub fn many(command: &ManyCommand, settings: &Settings) -> anyhow::Result<u8> {
    match command {
        ManyCommand::Cluster(arguments) => match &arguments.command {
            ClusterCommand::Init(arguments) => init(arguments),
        },
        ManyCommand::Nodes(arguments) => nodes(arguments, settings),
        ManyCommand::Worker(arguments) => worker(arguments, settings),
    }
}

fn init(arguments: &InitArguments) -> anyhow::Result<u8> {
    let server = |(name, host, port): &(cluster::Name, String, u16)| {
        let route_port =
            port.checked_add(TO_ROUTES).with_context(|| format!("{port} leaves no port for routes"))?;
        anyhow::Ok(Server { name: name.clone(), host: host.clone(), port: *port, route_port })
    };
    let tls = arguments.tls_ca.clone().zip(arguments.tls_cert.clone()).zip(arguments.tls_key.clone());
    let plan = Plan {
        servers: arguments.servers.iter().map(server).collect::<anyhow::Result<_>>()?,
        gateways: arguments.gateways.clone(),
        workers: arguments.workers.clone(),
        store: arguments.store.clone(),
        tls: tls.map(|((ca, cert), key)| Tls { ca, cert, key }),
    };
    let written = plan.write(&arguments.directory);
    let written = written.with_context(|| format!("write to {}", arguments.directory.display()))?;
    written.iter().for_each(|path| println!("{}", path.display()));
    let urls: Vec<_> = plan.servers.iter().map(|one| format!("nats://{}:{}", one.host, one.port)).collect();
    println!("start each server: nats-server -c FILE");
    println!("a gateway: fireclay serve --cluster {} --credentials FILE", urls.join(","));
    println!("a worker:  fireclay worker --cluster {} --credentials FILE", urls.join(","));
    Ok(0)
}

#[derive(Deserialize)]
struct Nodes {
    items: Vec<Value>,
}

/// Carries out one command on nodes.
fn nodes(arguments: &NodesArguments, settings: &Settings) -> anyhow::Result<u8> {
    let key = env::key_in(&arguments.api_key_env);
    let client = match &arguments.url {
        Some(url) => Client::at(url, key)?,
        None => Client::of(&settings.data, key)?,
    };
    let say = |name: &cluster::Name, what: &str| {
        client.call::<Value>("POST", &format!("/v1/nodes/{name}/{what}"), None).map(drop)
    };
    match &arguments.command {
        NodesCommand::List { json } => {
            let nodes: Nodes = client.call("GET", "/v1/nodes", None)?;
            nodes
                .items
                .iter()
                .for_each(|node| if *json { println!("{node}") } else { println!("{}", line(node)) });
        }
        NodesCommand::Show { name } => {
            let node: Value = client.call("GET", &format!("/v1/nodes/{name}"), None)?;
            println!("{}", serde_json::to_string_pretty(&node)?);
        }
        NodesCommand::Cordon { name } => say(name, "cordon")?,
        NodesCommand::Uncordon { name } => say(name, "uncordon")?,
        NodesCommand::Drain { name } => say(name, "drain")?,
    }
    Ok(0)
}

fn line(node: &Value) -> String {
    let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
    let roles = match (node["gateway"] == true, node["worker"] == true) {
        (true, true) => "gateway and worker",
        (true, false) => "gateway",
        _ => "worker",
    };
    format!(
        "{}  {}  {roles}  {} of {} places taken, {} waiting  {}",
        text("name"),
        text("state"),
        node["running"],
        node["places"],
        node["queued"],
        text("version")
    )
}
