//! The command line, as one table: help, completions and the man page are made from it.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use model::{CheckMode, CheckPolicy, Language, Layer, Policy, units};
use std::{path::PathBuf, str::FromStr};

#[cfg(feature = "agent")]
mod agent;
mod batch;
#[cfg(feature = "agent")]
mod beside;
mod cache;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(not(feature = "cluster"))]
#[path = "args/cluster/left_out.rs"]
mod cluster;
mod egress;
mod key;
#[cfg(not(all(feature = "agent", feature = "cluster", feature = "mcp")))]
mod left_out;
mod local;
#[cfg(feature = "mcp")]
mod mcp;
mod observe;
mod packages;
mod reading;
mod session;

#[cfg(feature = "agent")]
pub use agent::{
    AgentArguments, AgentFormat, EvalArguments, Level, SecretArguments, SecretCommand, TaskArguments, Tools,
};
pub use batch::BatchArguments;
#[cfg(all(feature = "agent", feature = "mcp"))]
pub use beside::OtherServers;
#[cfg(feature = "agent")]
pub use beside::{DocsArguments, DocsMode};
pub use cache::{CacheArguments, CacheCommand};
pub use cluster::ManyCommand;
#[cfg(feature = "cluster")]
pub use cluster::{ClusterCommand, InitArguments, NodesArguments, NodesCommand, WorkerArguments};
pub use egress::EgressArguments;
pub use key::{KeyArguments, KeyCommand, KeyRole};
#[cfg(not(all(feature = "agent", feature = "cluster", feature = "mcp")))]
pub use left_out::{LeftOut, left_out};
pub use local::{LocalArguments, LocalCommand};
#[cfg(feature = "mcp")]
pub use mcp::McpArguments;
pub use observe::{ObserveArguments, SeeCommand, TopArguments};
pub use packages::{PackageArguments, UsualArguments};
pub use reading::ReadingArguments;
pub use session::{CreateArguments, SessionArguments, SessionCommand, SessionRunArguments};

/// Runs code that a language model wrote: safely, at once, on your own machine.
#[derive(Debug, Parser)]
#[command(name = "fireclay", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Where images and records are kept [default: /var/lib/fireclay for root, else the user's data directory]
    #[arg(long, global = true, value_name = "DIR", env = "FIRECLAY_DATA", value_hint = ValueHint::DirPath, hide_env_values = true)]
    pub data: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The exit codes, as help shows them; `exit.rs` is held to it by a test.
pub const EXIT_CODES: &str = "\
Exit codes: the code's own, or 128 and the signal that ended it; 2 rejected, 3 setup_failed, 4 denied, 70 fault,
124 timed_out, 130 cancelled, 137 memory_exceeded, output_exceeded or disk_exceeded by a kill";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run code in a fresh sandbox
    Run(Box<RunArguments>),
    /// Open, use and close sandboxes that stay
    Session(SessionArguments),
    /// Run and grade many programs, one in each line of a file
    Batch(BatchArguments),
    /// Look for harm in a program, without running it
    Check(CheckArguments),
    /// Build, list, show or remove the root filesystems that sandboxes see
    Image(ImageArguments),
    /// List or show what sandboxes are made from, and install or remove the packages of one
    Template(TemplateArguments),
    /// Run code for others over HTTP
    Serve(ServeArguments),
    /// Find, start or end the server that this user's programs share
    Local(LocalArguments),
    /// What is there to see
    #[command(flatten)]
    See(SeeCommand),
    /// Give a model tools that run code: an MCP server on standard input and output
    #[cfg(feature = "mcp")]
    Mcp(McpArguments),
    /// Give a model tools that run code: an MCP server on standard input and output (not in this build)
    #[cfg(not(feature = "mcp"))]
    Mcp(LeftOut),
    /// Have a model find something out by writing and running code
    #[cfg(feature = "agent")]
    Agent(Box<AgentArguments>),
    /// Have a model answer questions, and judge the answers by checkers
    #[cfg(feature = "agent")]
    Eval(Box<EvalArguments>),
    /// Keep, list or forget the keys of model providers
    #[cfg(feature = "agent")]
    Secret(SecretArguments),
    /// Have a model find something out by writing and running code (not in this build)
    #[cfg(not(feature = "agent"))]
    Agent(LeftOut),
    /// Have a model answer questions, and judge the answers by checkers (not in this build)
    #[cfg(not(feature = "agent"))]
    Eval(LeftOut),
    /// Keep, list or forget the keys of model providers (not in this build)
    #[cfg(not(feature = "agent"))]
    Secret(LeftOut),
    /// Many machines
    #[command(flatten)]
    Many(ManyCommand),
    /// List or remove packages that runs asked for
    Cache(CacheArguments),
    /// Make, list or revoke API keys
    Key(KeyArguments),
    /// Check the signed receipt of a result
    Verify(VerifyArguments),
    /// Clone sandboxes for the service on standard input
    #[command(hide = true)]
    Spawner,
    /// Serve the proxies of sandboxes for the service on standard input
    #[command(hide = true)]
    Egress,
    /// Perform every act that a sandbox needs, and say what is missing and what to do
    Doctor(DoctorArguments),
    /// Fire the escape battery at this machine's sandboxes, and print a score
    Selftest(SelftestArguments),
    /// Measure this machine: runs beside the bare interpreter and other sandboxes
    Bench(BenchArguments),
    /// Print a completion script for a shell
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

/// Arguments of `fireclay run`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct RunArguments {
    /// The program to run; `-` reads it from standard input
    #[arg(value_name = "FILE", required_unless_present = "code", value_hint = ValueHint::FilePath)]
    pub file: Option<String>,
    /// Arguments of the program
    #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
    pub trailing: Vec<String>,
    /// The program itself, instead of a file
    #[arg(short = 'c', long, value_name = "CODE", allow_hyphen_values = true)]
    pub code: Option<String>,
    /// Such as python, bash, javascript, typescript, or one of docs/languages.md [default: by the file's extension or first line; python for -c]
    #[arg(short, long, value_name = "LANGUAGE", value_parser = Language::from_str)]
    pub language: Option<Language>,
    /// What the program reads on standard input; `-` passes ours on
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub stdin: Option<String>,
    /// An argument of the program; may be repeated
    #[arg(long = "arg", value_name = "ARG", allow_hyphen_values = true)]
    pub args: Vec<String>,
    /// An environment variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// A file to put into the workspace, under its own or another name; may be repeated
    #[arg(long = "file", value_name = "LOCAL[:NAME]", value_hint = ValueHint::FilePath)]
    pub files: Vec<String>,
    /// Working directory, relative to the workspace
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Copy the files that the program leaves in the workspace to this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub artifacts: Option<PathBuf>,
    /// Wall time
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration_ms, help = help("Wall time", &units::format_duration_ms(LIMITS.timeout_ms)))]
    pub timeout: Option<u64>,
    /// Memory
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, help = help("Memory of all processes", &units::format_bytes(LIMITS.memory_bytes)))]
    pub memory: Option<u64>,
    /// Processors
    #[arg(long, value_name = "NUMBER", help = help("Processors, as a rate", &format!("{:.1}", LIMITS.cpus)))]
    pub cpus: Option<f64>,
    /// Processes
    #[arg(long, value_name = "NUMBER", help = help("Processes and threads at once", &LIMITS.processes.to_string()))]
    pub processes: Option<u64>,
    /// Disk
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, help = help("Files in workspace, home, /tmp and /dev/shm together", &units::format_bytes(LIMITS.disk_bytes)))]
    pub disk: Option<u64>,
    /// Output
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, help = help("Output kept of each stream; more is dropped from the middle", &units::format_bytes(LIMITS.output_bytes)))]
    pub output_limit: Option<u64>,
    /// Print the result as JSON instead of streaming output
    #[arg(long)]
    pub json: bool,
    /// Print the steps that isolate the run, and do not run it
    #[arg(long, conflicts_with = "review")]
    pub show_plan: bool,
    /// Pass terminal control sequences of the program on to the terminal
    #[arg(long)]
    pub raw: bool,
    /// Run although this machine cannot give a layer of isolation; may be repeated
    #[arg(long, value_name = "LAYER", value_parser = Layer::from_str)]
    pub allow_missing: Vec<Layer>,
    /// What the sandbox is made from, such as python-data [default: python, bash or node, by the language]
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// The image to run in
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub image: String,
    /// How it is read before it runs.
    #[command(flatten)]
    pub reading: ReadingArguments,
    /// What it has.
    #[command(flatten)]
    pub packages: PackageArguments,
    /// Find packages by what it imports
    #[arg(long)]
    pub auto_packages: bool,
    /// What it may reach.
    #[command(flatten)]
    pub egress: EgressArguments,
    /// Keep no record of this run in the data directory
    #[arg(long, conflicts_with = "review")]
    pub no_record: bool,
    /// Run here, even if a server is running
    #[arg(long, conflicts_with = "review")]
    pub local: bool,
}

const LIMITS: model::Limits = Policy::DEFAULT.limits;

fn help(what: &str, default: &str) -> String {
    format!("{what} [default: {default}]")
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Arguments of `fireclay check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Findings are advice: what holds a program is its sandbox, and whoever wants to hide from the check can.
Exit codes: 0 the policy does not refuse the program, 2 it cannot be read, 4 it refuses it")]
pub struct CheckArguments {
    /// The program; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: String,
    /// python, bash, javascript or typescript [default: by the file's extension or first line]
    #[arg(short, long, value_name = "LANGUAGE", value_parser = Language::from_str)]
    pub language: Option<Language>,
    /// How findings are printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: CheckFormat,
    /// default, strict or agentrun: which findings refuse a program
    #[arg(long, value_name = "POLICY", default_value = "default", value_parser = CheckPolicy::from_str)]
    pub policy: CheckPolicy,
    /// What is done about one rule: network.used=deny, 'loop.*=off'; may be repeated
    #[arg(long = "rule", value_name = "ID=MODE", value_parser = reading::check_rule)]
    pub rules: Vec<(String, CheckMode)>,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CheckFormat {
    /// A line for each, as compilers do.
    Text,
    /// As `POST /v1/check` answers.
    Json,
    /// SARIF 2.1.0, for code hosts and editors.
    Sarif,
}

/// Arguments of `fireclay serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Settings come from a file, then variables such as FIRECLAY_LISTEN, then flags; docs/reference/settings.md lists them.
SIGTERM lets runs end and takes no new ones; a second one ends at once.")]
pub struct ServeArguments {
    /// Where to listen [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// A file of settings, TOML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// A setting; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub set: Vec<(String, String)>,
    /// Give runs to the workers of a cluster, this machine among them: servers of NATS, with commas between
    #[arg(long, value_name = "URL", requires = "credentials", value_hint = ValueHint::Url)]
    pub cluster: Option<String>,
    /// This node's credential of the cluster, as `fireclay cluster init` wrote it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub credentials: Option<PathBuf>,
    /// Be the local server of this user: listens where there is room, wants its token, ends when it is of no use
    #[arg(long, hide = true, conflicts_with = "config")]
    pub local: bool,
}

/// Arguments of `fireclay verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --key and --url the key is the one of the data directory: that of results which this machine's own service signed.
Exit codes: 0 the receipt proves the result, 1 it does not, 2 that cannot be told")]
pub struct VerifyArguments {
    /// A result as `GET /v1/runs/{id}` gave it; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: String,
    /// The public key that must have signed, in base64
    #[arg(long, value_name = "BASE64", conflicts_with = "url")]
    pub key: Option<String>,
    /// The service that must have signed [default: FIRECLAY_URL]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
}

/// Arguments of `fireclay doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
The last line is one word for each level: `ready`, `degraded` (runs, with a layer or a language missing) or `refused`
(fireclay run refuses). Tips about the machine never change it. The default image is built if there is none.
Exit codes: 0 ready or degraded, 1 refused")]
pub struct DoctorArguments {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `fireclay selftest`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 every attack was held off, 1 one was not, or ended without a verdict; 2 no such group"
)]
pub struct SelftestArguments {
    /// Groups of the catalogue, such as FS or NS [default: all]
    #[arg(value_name = "GROUP")]
    pub groups: Vec<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `fireclay bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
All that is compared is measured in turns in one run, so ratios say more than times. Nothing else should run meanwhile.
  cold    whole processes of `fireclay run`, the bare interpreter and bubblewrap
  warm    requests to a service: one client, 16 clients, a burst of 256
  rivals  bubblewrap, firejail, runc, podman, ipykernel, pydantic-monty, sandlock, as far as they are installed
  memory  what a sandbox that waits takes
  layers  what each layer of isolation costs
  fork    how far a run is above a plain fork of the same interpreter
  batch   50 mixed programs for each round, 16 at once
  sessions  runs in sandboxes that stay beside ipykernel, 64 busy at once, files in and out, 1,000 idle ones
  packages  runs whose packages are installed beside runs without any, and an installation beside `uv pip install`
Libraries are looked for in the Python environment `rivals` in the data directory, then in python3's own.")]
pub struct BenchArguments {
    /// What to measure [default: all]
    #[arg(value_name = "SCENARIO", value_parser = PossibleValuesParser::new(bench::Scenario::ALL.map(bench::Scenario::name)).try_map(|name| name.parse::<bench::Scenario>()), hide_possible_values = true)]
    pub scenarios: Vec<bench::Scenario>,
    /// How often one client does each thing
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: u32,
    /// How long many clients keep at it, in seconds
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// A service to measure [default: one that is started for it, with this program and the default image]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
}

/// Arguments of `fireclay image`.
#[derive(Debug, Args)]
pub struct ImageArguments {
    /// What to do with images.
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// The commands on images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Copy this machine's interpreters and tools into an image
    Build {
        /// What to call it
        #[arg(long, default_value = "default")]
        name: String,
        /// The Python interpreter to copy [default: python3 on PATH, behind any shim]
        #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
        python: Option<PathBuf>,
        /// The Node interpreter to copy [default: node on PATH, behind any shim]
        #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
        node: Option<PathBuf>,
    },
    /// List images
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what an image holds
    Show {
        /// Its name or the beginning of its digest
        #[arg(default_value = "default")]
        image: String,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Read all of it again and compare it with its digest
        #[arg(long)]
        verify: bool,
    },
    /// Remove an image
    Remove {
        /// Its name or the beginning of its digest
        image: String,
    },
}

/// Arguments of `fireclay template`.
#[derive(Debug, Args)]
pub struct TemplateArguments {
    /// What to do with templates.
    #[command(subcommand)]
    pub command: TemplateCommand,
}

/// The commands on templates.
#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// List templates, and whether their packages are installed
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a template is made of, and why
    Show {
        /// Its name
        template: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Build a template of your own from a file, or install a shipped one's packages
    #[command(after_help = "\
A file is TOML: name, purpose, base, python, packages, modules, files (path, and text, base64 or source), setup, setup_egress, env, limits, egress;
docs/templates.md explains them. A server builds it, and is started if there is none; every run can name it from then on.

For a shipped template, packages come from PyPI by uv, which is looked for on PATH, and else brought into the data directory. No code of
theirs is run. A service that runs finds them with the next request for the template.")]
    Build {
        /// A file, as FILE.toml, or the name of a shipped template
        template: String,
        /// The image whose Python they are for
        #[arg(long, value_name = "NAME", default_value = "default")]
        image: String,
    },
    /// Remove a template of your own, or a shipped one's packages
    Remove {
        /// Its name
        template: String,
    },
}
