//! Arguments of `fireclay cluster`, `fireclay nodes` and `fireclay worker`.

use clap::{Args, Subcommand, ValueHint};
use cluster::Name;
use std::path::PathBuf;
use std::str::FromStr;

/// The commands on many machines.
#[derive(Debug, Subcommand)]
pub enum ManyCommand {
    /// Write the configuration and credentials of a cluster of many machines
    Cluster(ClusterArguments),
    /// List, show, cordon or drain the machines of a cluster
    Nodes(NodesArguments),
    /// Do runs of a cluster on this machine
    Worker(WorkerArguments),
}

/// Arguments of `fireclay cluster`.
#[derive(Debug, Args)]
pub struct ClusterArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// The commands on a cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Write configurations of NATS servers, and a credential for each node
    Init(InitArguments),
}

/// Arguments of `fireclay cluster init`.
#[derive(Debug, Args)]
#[command(after_help = "\
A second call on the same directory adds the nodes that it names; keys that are there stay. All servers are to be named each time.
Every file is a secret of the machine that it is for; docs/cluster.md says which goes where.")]
pub struct InitArguments {
    /// Where to write
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// A NATS server and where it is reached; may be repeated, three keep their streams when one is lost
    #[arg(long = "server", value_name = "NAME=HOST[:PORT]", default_value = "nats=127.0.0.1", value_parser = server)]
    pub servers: Vec<(Name, String, u16)>,
    /// A node that takes runs in; may be repeated
    #[arg(long = "gateway", value_name = "NAME", default_value = "gateway", value_parser = Name::from_str)]
    pub gateways: Vec<Name>,
    /// A node that only does them; may be repeated
    #[arg(long = "worker", value_name = "NAME", value_parser = Name::from_str)]
    pub workers: Vec<Name>,
    /// Where servers keep their streams, on their machines
    #[arg(long, value_name = "DIR", default_value = "/var/lib/fireclay-nats")]
    pub store: PathBuf,
    /// Encrypt all connections: who signed the servers' certificates, PEM
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
    pub tls_ca: Option<PathBuf>,
    /// A server's own certificate, on its machine
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that, on its machine
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    pub tls_key: Option<PathBuf>,
}

/// The port of NATS for clients.
const PORT: u16 = 4222;

fn server(text: &str) -> Result<(Name, String, u16), String> {
    let (name, place) = text.split_once('=').ok_or("expected NAME=HOST or NAME=HOST:PORT")?;
    let name = name.parse::<Name>().map_err(|wrong| wrong.to_string())?;
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| format!("{port:?} is no port"))?),
        None => (place, PORT),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if host.is_empty() || !host.chars().all(plain) {
        return Err(format!("{host:?} is neither a name nor an IPv4 address"));
    }
    Ok((name, host.to_owned(), port))
}

/// Arguments of `fireclay nodes`.
#[derive(Debug, Args)]
pub struct NodesArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: NodesCommand,
    /// A gateway to ask [default: the one that serves the data directory]
    #[arg(long, value_name = "URL", global = true, value_hint = ValueHint::Url)]
    pub url: Option<String>,
    /// The variable that holds the key for it
    #[arg(long, value_name = "NAME", default_value = "FIRECLAY_API_KEY", global = true)]
    pub api_key_env: String,
}

/// The commands on nodes.
#[derive(Debug, Subcommand)]
pub enum NodesCommand {
    /// List the nodes that live
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one, as JSON
    Show {
        /// Its name
        name: Name,
    },
    /// Have a node take no new runs
    Cordon {
        /// Its name
        name: Name,
    },
    /// Have a node take runs again
    Uncordon {
        /// Its name
        name: Name,
    },
    /// Have a worker end when its runs have
    Drain {
        /// Its name
        name: Name,
    },
}

/// Arguments of `fireclay worker`.
#[derive(Debug, Args)]
#[command(after_help = "\
Settings are those of `fireclay serve`; those of its doors are of no effect. SIGTERM lets its runs end and takes no new ones; a second
one ends at once, and its runs are given to other workers.")]
pub struct WorkerArguments {
    /// Servers of NATS, with commas between
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub cluster: String,
    /// This node's credential, as `fireclay cluster init` wrote it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub credentials: PathBuf,
    /// A file of settings, TOML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// A setting; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::variable)]
    pub set: Vec<(String, String)>,
}
