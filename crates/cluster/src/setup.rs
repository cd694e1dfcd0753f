//! `fireclay cluster init`: the configuration of NATS servers, and a credential for each node.
//!
//! A second call with more names adds those: keys that are there are kept.

use crate::identity::{Identity, Role};
use crate::names::{FREED, LOADS, Name, PRIORITIES, READY, RUNS, word};
use nkeys::KeyPair;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Largest message; bodies beyond travel in chunks.
const PAYLOAD_MAX: usize = 1 << 20;

/// A NATS server to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: Name,
    /// The address that nodes and other servers reach it at.
    pub host: String,
    /// For nodes.
    pub port: u16,
    /// For other servers.
    pub route_port: u16,
}

/// Files of certificates, PEM; each server's machine has its own at these paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Who signed them all.
    pub ca: PathBuf,
    /// A server's own, for its host.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A cluster to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Servers; an odd number.
    pub servers: Vec<Server>,
    /// Nodes that send.
    pub gateways: Vec<Name>,
    /// Nodes that only run.
    pub workers: Vec<Name>,
    /// Where servers keep their streams, on their machines; a directory of its own below it for each.
    pub store: PathBuf,
    /// Encrypts all connections.
    pub tls: Option<Tls>,
}

impl Plan {
    /// Writes it all; returns the files, configurations first.
    pub fn write(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        fs::create_dir_all(directory)?;
        let file = |role: Role, name: &Name| directory.join(format!("{}-{name}.json", role.name()));
        let mut identities = Vec::new();
        for (role, names) in [(Role::Gateway, &self.gateways), (Role::Worker, &self.workers)] {
            // Those of a call before stay, named again or not.
            let before = present(directory, role)?;
            let all = names.iter().chain(before.iter()).cloned().collect::<std::collections::BTreeSet<_>>();
            for name in all {
                identities.push((role, name.clone(), seed(&file(role, &name))?));
            }
        }
        let operator: Name = "operator".parse().expect("it is a name");
        identities.push((Role::Operator, operator.clone(), seed(&file(Role::Operator, &operator))?));
        let gateways: BTreeMap<Name, String> = identities
            .iter()
            .filter(|(role, _, _)| *role == Role::Gateway)
            .map(|(_, name, pair)| (name.clone(), pair.public_key()))
            .collect();
        let replicas = if self.servers.len() >= 3 { 3 } else { 1 };
        let mut written = self.write_servers(directory, &identities)?;
        for (role, name, pair) in &identities {
            let identity = Identity {
                role: *role,
                name: name.clone(),
                seed: pair.seed().map_err(io::Error::other)?,
                replicas,
                tls_ca: self.tls.as_ref().map(|tls| tls.ca.clone()),
                gateways: gateways.clone(),
            };
            let text = serde_json::to_string_pretty(&identity).map_err(io::Error::other)?;
            let path = file(*role, name);
            write_secret(&path, &text)?;
            written.push(path);
        }
        Ok(written)
    }

    fn write_servers(
        &self,
        directory: &Path,
        identities: &[(Role, Name, KeyPair)],
    ) -> io::Result<Vec<PathBuf>> {
        let secret = directory.join("route.secret");
        let password = match fs::read_to_string(&secret) {
            Ok(password) => password.trim().to_owned(),
            Err(_) => {
                let password = KeyPair::new_user().public_key();
                write_secret(&secret, &password)?;
                password
            }
        };
        let mut written = Vec::new();
        for server in &self.servers {
            let path = directory.join(format!("nats-{}.conf", server.name));
            write_secret(&path, &self.configuration(server, identities, &password))?;
            written.push(path);
        }
        Ok(written)
    }

    /// The configuration of one server. There is no `no_auth_user`: who has no key is nobody.
    fn configuration(&self, server: &Server, identities: &[(Role, Name, KeyPair)], password: &str) -> String {
        let Server { name, host, port, route_port } = server;
        let store = self.store.join(name.as_str());
        let mut text = format!(
            "# Written by `fireclay cluster init`; a further call of it writes it anew.\n\
             # nats-server -c THIS\n\
             server_name: {name}\nlisten: \"{host}:{port}\"\nmax_payload: {PAYLOAD_MAX}\n\
             jetstream {{\n  store_dir: {store:?}\n}}\n"
        );
        let tls = self.tls.as_ref().map(|tls| {
            format!(
                "tls {{\n    ca_file: {:?}\n    cert_file: {:?}\n    key_file: {:?}\n    timeout: 5\n",
                tls.ca, tls.cert, tls.key
            )
        });
        if let Some(tls) = &tls {
            writeln!(text, "{tls}}}").expect("a String takes all");
        }
        if self.servers.len() > 1 {
            let routes = self.servers.iter().filter(|other| *other != server);
            let routes: Vec<_> = routes
                .map(|other| format!("\"nats-route://route:{password}@{}:{}\"", other.host, other.route_port))
                .collect();
            let tls = tls.as_ref().map(|tls| format!("  {tls}    verify: true\n  }}\n")).unwrap_or_default();
            writeln!(
                text,
                "cluster {{\n  name: fireclay\n  listen: \"{host}:{route_port}\"\n  authorization {{ user: route, password: \"{password}\", timeout: 5 }}\n  routes: [{}]\n{tls}}}",
                routes.join(", ")
            )
            .expect("a String takes all");
        }
        text.push_str("accounts {\n  SYS {}\n  FIRECLAY {\n    jetstream: enabled\n    users: [\n");
        for (role, name, pair) in identities {
            writeln!(
                text,
                "      # {} {name}\n      {{ nkey: {}, permissions: {{ publish: {{ allow: {:?} }}, subscribe: {{ allow: {:?} }} }} }}",
                role.name(),
                pair.public_key(),
                publishes(*role, name),
                subscribes(*role, name)
            )
            .expect("a String takes all");
        }
        text.push_str("    ]\n  }\n}\nsystem_account: SYS\n");
        text
    }
}

/// What a credential may send. A worker asks for runs, acknowledges, and writes below its own name; of JetStream's API it has three
/// questions: the next run, what is known of that consumer, and the last message of subjects that are named here.
fn publishes(role: Role, name: &Name) -> Vec<String> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match role {
        Role::Gateway => words(&["fc.>", "$JS.API.>", "$JS.ACK.>", "$KV.>"]),
        Role::Operator => words(&["$JS.API.>", "$JS.ACK.>", "$KV.>"]),
        Role::Worker => {
            let mut allowed: Vec<String> = PRIORITIES
                .iter()
                .flat_map(|priority| {
                    let consumer = word(*priority);
                    [
                        format!("$JS.API.CONSUMER.MSG.NEXT.{RUNS}.{consumer}"),
                        format!("$JS.API.CONSUMER.INFO.{RUNS}.{consumer}"),
                    ]
                })
                .collect();
            allowed.extend([
                format!("$JS.ACK.{RUNS}.>"),
                format!("fc.res.{name}.>"),
                format!("fc.ev.{name}.>"),
                format!("fc.out.{name}.>"),
                format!("fc.dead.{name}.*"),
                format!("fc.up.{name}.>"),
                format!("$KV.FC_SESSIONS.end.{name}.*"),
                format!("fc.save.{name}.>"),
                "fc.claim.*".to_owned(),
                format!("$KV.FC_NODES.{name}"),
                "$JS.API.DIRECT.GET.FC_BLOBS.fc.in.>".to_owned(),
                "$JS.API.DIRECT.GET.FC_LAYERS.fc.layer.>".to_owned(),
                "$JS.API.DIRECT.GET.KV_FC_META.$KV.FC_META.schema".to_owned(),
                format!("$JS.API.DIRECT.GET.KV_FC_CONTROL.$KV.FC_CONTROL.{name}"),
                format!("$JS.API.DIRECT.GET.KV_FC_NODES.$KV.FC_NODES.{name}"),
            ]);
            allowed
        }
    }
}

/// What a credential may hear: answers to itself, and what its role is told.
fn subscribes(role: Role, name: &Name) -> Vec<String> {
    let own = format!("_INBOX_{name}.>");
    match role {
        Role::Gateway => vec![
            own,
            format!("fc.ev.*.{name}.*"),
            "fc.cancel.*".to_owned(),
            format!("fc.down.{name}.>"),
            format!("fc.up.*.{name}.*"),
            READY.to_owned(),
            LOADS.to_owned(),
            FREED.to_owned(),
        ],
        Role::Worker => {
            vec![own, "fc.cancel.*".to_owned(), format!("fc.down.{name}.>"), READY.to_owned()]
        }
        Role::Operator => vec!["_INBOX.>".to_owned(), own],
    }
}

/// Names that have a credential here.
fn present(directory: &Path, role: Role) -> io::Result<Vec<Name>> {
    let prefix = format!("{}-", role.name());
    let names = fs::read_dir(directory)?.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix(&prefix)?.strip_suffix(".json")?.parse().ok()
    });
    Ok(names.collect())
}

/// The key of a credential: the one that is there, or a new one.
fn seed(path: &Path) -> io::Result<KeyPair> {
    if !path.exists() {
        return Ok(KeyPair::new_user());
    }
    let identity = Identity::read(path).map_err(io::Error::other)?;
    KeyPair::from_seed(&identity.seed).map_err(io::Error::other)
}

/// Writes a file that only its owner reads, in place of what is there.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&unfinished, path)
}
