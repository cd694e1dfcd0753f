//! Arguments of `fireclay session`.

use super::{EXIT_CODES, EgressArguments, PackageArguments, ReadingArguments, variable};
use clap::{Args, Subcommand, ValueHint};
use model::{Language, units};
use std::path::PathBuf;
use std::str::FromStr;

/// Arguments of `fireclay session`.
#[derive(Debug, Args)]
#[command(after_help = "\
A session is a sandbox that stays: variables, imports and files of one run are there for the next. SESSION is its id or its name.
The service is asked that owns the data directory, which is started if there is none (`fireclay local --help`); with --url another.")]
pub struct SessionArguments {
    /// A service to ask, such as http://127.0.0.1:8000 [default: FIRECLAY_URL, else the data directory's]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
    /// As JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do with sessions.
    #[command(subcommand)]
    pub command: SessionCommand,
}

/// The commands on sessions.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Open a session and print its id
    Create(Box<CreateArguments>),
    /// List sessions that are open, newest first
    List {
        /// Those that have ended, too
        #[arg(long)]
        all: bool,
    },
    /// Show one session
    Show {
        /// Its id or name
        session: String,
    },
    /// Run code in a session
    #[command(after_help = EXIT_CODES)]
    Run(Box<SessionRunArguments>),
    /// Type into a session as at the interpreter's own prompt
    Attach {
        /// Its id or name
        session: String,
        /// python, bash or javascript [default: the session's]
        #[arg(short, long, value_name = "LANGUAGE", value_parser = Language::from_str)]
        language: Option<Language>,
    },
    /// Copy a file or a directory into a session or out of it
    #[command(after_help = "\
One of the two is SESSION:PATH, below the session's /workspace; `-` is our standard input or output. A directory is copied with all that is
in it, links left out: to the other name, or into the directory that has it. On standard output it is a tar archive.
    fireclay session cp data.csv SESSION:data.csv
    fireclay session cp SESSION:plot.png .
    fireclay session cp ./project SESSION:
    fireclay session cp SESSION: - | tar -t")]
    Cp {
        /// From where
        from: String,
        /// To where
        to: String,
    },
    /// Print a link that lets a browser in to what listens on a port of a session, once
    #[command(after_help = "\
The session must have been opened with --ports; the link is good for a minute. Programs need no link but the key of the session's tenant, in
`Authorization: Bearer`, at the address that --json has as `origin`.")]
    Open {
        /// Its id or name
        session: String,
        /// The port on the loopback of its sandbox
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
    /// List the files of a session
    Ls {
        /// Its id or name
        session: String,
        /// Only names like this, such as '*.csv'
        #[arg(long, value_name = "PATTERN")]
        glob: Option<String>,
    },
    /// Forget the state of a session and keep its files
    Restart {
        /// Its id or name
        session: String,
    },
    /// Close a session; its files can be fetched for a while
    Close {
        /// Its id or name
        session: String,
    },
}

/// Arguments of `fireclay session create`.
#[derive(Debug, Args)]
pub struct CreateArguments {
    /// What its sandbox is made from, such as python-data [default: python]
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// The language of runs that name none [default: the template's]
    #[arg(short, long, value_name = "LANGUAGE", value_parser = Language::from_str)]
    pub language: Option<Language>,
    /// What to call it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub name: String,
    /// An environment variable of all that runs in it; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// What becomes of what runs left behind while none is on: frozen, slow or running [default: frozen]
    #[arg(long, value_name = "WORD", value_parser = ["frozen", "slow", "running"])]
    pub background: Option<String>,
    /// Let its owner visit what listens in it (`fireclay session open`)
    #[arg(long)]
    pub ports: bool,
    /// Save its files as runs change them, so that it is reopened on another node of the cluster when its own is lost
    #[arg(long)]
    pub durable: bool,
    /// What its Python has.
    #[command(flatten)]
    pub packages: PackageArguments,
    /// Install what its runs of Python import
    #[arg(long)]
    pub auto_packages: bool,
    /// What runs in it may reach.
    #[command(flatten)]
    pub egress: EgressArguments,
    /// Which of one's own runs that wait its runs come before: low, normal or high [default: normal]
    #[arg(long, value_name = "WORD", value_parser = ["low", "normal", "high"])]
    pub priority: Option<String>,
    /// How long it stays when nothing runs, such as 10m
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration_ms)]
    pub idle: Option<u64>,
    /// How long it stays at most
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration_ms)]
    pub ttl: Option<u64>,
    /// Memory of all processes in it
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub memory: Option<u64>,
    /// Processors, as a rate
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<f64>,
    /// Processes and threads at once
    #[arg(long, value_name = "NUMBER")]
    pub processes: Option<u64>,
    /// Its files together
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub disk: Option<u64>,
}

/// Arguments of `fireclay session run`.
#[derive(Debug, Args)]
pub struct SessionRunArguments {
    /// The session's id or name
    pub session: String,
    /// The program to run; `-` reads it from standard input
    #[arg(value_name = "FILE", required_unless_present = "code", value_hint = ValueHint::FilePath)]
    pub file: Option<String>,
    /// The program itself, instead of a file
    #[arg(short = 'c', long, value_name = "CODE", allow_hyphen_values = true, conflicts_with = "file")]
    pub code: Option<String>,
    /// python, bash, javascript or typescript [default: by the file's extension or first line, else the session's]
    #[arg(short, long, value_name = "LANGUAGE", value_parser = Language::from_str)]
    pub language: Option<Language>,
    /// What the program reads on standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub stdin: Option<PathBuf>,
    /// An environment variable of this run; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// Working directory, relative to the workspace; `private` with --fresh is an empty one of its own
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Run it as a program of its own, beside others, without the session's state
    #[arg(long)]
    pub fresh: bool,
    /// Wall time
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration_ms)]
    pub timeout: Option<u64>,
    /// How it is read before it runs.
    #[command(flatten)]
    pub reading: ReadingArguments,
    /// Pass terminal control sequences of the program on to the terminal
    #[arg(long)]
    pub raw: bool,
}
