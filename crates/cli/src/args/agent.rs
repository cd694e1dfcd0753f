//! Arguments of `fireclay agent`, `fireclay eval` and `fireclay secret`.

use super::beside::{DocsArguments, OtherServers};
use super::{EgressArguments, PackageArguments};
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use model::{Language, units};
use std::path::PathBuf;
use std::str::FromStr;

/// Arguments of `fireclay agent`.
#[derive(Debug, Args)]
#[command(after_help = "\
A model writes programs, they run in a sandbox, and the model is shown what came of them, until it answers. The answer goes to standard
output; steps go to standard error, unless that is a file or a pipe (--log-level has them there too). Without QUESTION and --input the
question is standard input; with one, a pipe or file at standard input becomes the file stdin.txt of the sandbox.
With --batch each line of a file is a question, a text or {\"id\", \"input\"} in JSON; each answer is a line of JSON as soon as it is there, and a
table of all of them is on standard error.
Keys come from variables such as OPENAI_API_KEY, or from `fireclay secret set`. No key is ever in a sandbox.
Exit codes: 0 answered; 1 no answer, or a budget is used up; 2 rejected; 130 stopped; 70 fault")]
pub struct AgentArguments {
    /// What to find out
    #[arg(value_name = "QUESTION")]
    pub question: Option<String>,
    /// More of the question: a text, or @FILE; may be repeated
    #[arg(short, long, value_name = "TEXT|@FILE")]
    pub input: Vec<String>,
    /// Ask question after question, at a prompt
    #[arg(long, alias = "chat", conflicts_with_all = ["solution", "output", "format"])]
    pub interactive: bool,
    /// Answer every question of this file of JSON lines, each for itself; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
        conflicts_with_all = ["question", "input", "interactive", "ask", "session_id", "format"])]
    pub batch: Option<String>,
    /// With --batch: how many questions are worked on at once
    #[arg(long, value_name = "N", default_value_t = 4, requires = "batch", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub jobs: u32,
    /// Copy the files of the sandbox to this directory at the end, and plots as they come; what is there already is never replaced. With
    /// --batch, to one below it for each question
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "solution")]
    pub artifacts: Option<PathBuf>,
    /// The open session to work in, by name or id; it stays. Else one is opened, and closed at the end
    #[arg(long, value_name = "SESSION", conflicts_with = "solution")]
    pub session_id: Option<String>,
    /// Ask before each run
    #[arg(long)]
    pub ask: bool,
    /// Where the answer goes instead of standard output; with --solution, the program
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// How the answer is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: AgentFormat,
    /// How a question is answered.
    #[command(flatten)]
    pub task: TaskArguments,
}

/// How a question is answered.
#[derive(Debug, Args)]
pub struct TaskArguments {
    /// Who is asked: provider, provider:model or provider/model [default: openai, or the first provider whose key is there]
    #[arg(long, value_name = "PROVIDER[:MODEL]")]
    pub model: Option<String>,
    /// Where the provider is [default: its own address, or its variable, such as OPENAI_BASE_URL]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub base_url: Option<String>,
    /// How freely the model chooses words, 0 to 2
    #[arg(long, value_name = "NUMBER", value_parser = between::<0, 2>)]
    pub temperature: Option<f64>,
    /// From how much of the likeliest words, 0 to 1
    #[arg(long, value_name = "NUMBER", value_parser = between::<0, 1>)]
    pub top_p: Option<f64>,
    /// Against words that were there, -2 to 2
    #[arg(long, value_name = "NUMBER", value_parser = between::<-2, 2>, allow_negative_numbers = true)]
    pub presence_penalty: Option<f64>,
    /// Against words that were there often, -2 to 2
    #[arg(long, value_name = "NUMBER", value_parser = between::<-2, 2>, allow_negative_numbers = true)]
    pub frequency_penalty: Option<f64>,
    /// What the model should know or heed besides: a text, or @FILE
    #[arg(long, value_name = "TEXT|@FILE")]
    pub instructions: Option<String>,
    /// The language of code that names none, and of --solution
    #[arg(short, long, value_name = "LANGUAGE", default_value = "python", value_parser = Language::from_str)]
    pub language: Language,
    /// What the sandbox is made from, such as python-data [default: by the language]
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// What the code has.
    #[command(flatten)]
    pub packages: PackageArguments,
    /// Install what code imports, which is so unless --no-packages is said
    #[arg(long, conflicts_with = "no_packages")]
    pub auto_packages: bool,
    /// Install nothing by what code imports
    #[arg(long)]
    pub no_packages: bool,
    /// What the code may reach.
    #[command(flatten)]
    pub egress: EgressArguments,
    /// A file to put into the sandbox, under its own or another name; may be repeated
    #[arg(long = "file", value_name = "LOCAL[:NAME]", value_hint = ValueHint::FilePath)]
    pub files: Vec<String>,
    /// Have the model write one whole program, and try it in fresh sandboxes: its imports first, then all of it
    #[arg(long)]
    pub solution: bool,
    /// With --solution: the model writes tests too, and they must pass
    #[arg(long, requires = "solution")]
    pub tests: bool,
    /// With --solution: how often the program is written at most
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_iterations: u32,
    /// Have a model judge all code before it runs; what it finds unsafe is not run
    #[arg(long)]
    pub review: bool,
    /// Who judges, likewise [default: the model itself]
    #[arg(long, value_name = "PROVIDER[:MODEL]", requires = "review")]
    pub review_model: Option<String>,
    /// Documentation of the web.
    #[command(flatten)]
    pub docs: DocsArguments,
    /// Tools of other servers.
    #[command(flatten)]
    pub mcp: OtherServers,
    /// How the model says that code should run: by calls of tools, or in fenced blocks, for models that cannot call
    #[arg(long, value_name = "STYLE", default_value = "auto")]
    pub tools: Tools,
    /// Wall time of each run
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = units::parse_duration_ms)]
    pub timeout: u64,
    /// Answers of the model, at most
    #[arg(long, value_name = "N", default_value_t = 25)]
    pub max_turns: u32,
    /// Tokens, read and written, at most
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub max_tokens: u64,
    /// Dollars, at most, by the prices that fireclay knows
    #[arg(long, value_name = "DOLLARS", default_value_t = 1.0)]
    pub max_cost: f64,
    /// Time from question to answer, at most
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = units::parse_duration_ms)]
    pub max_time: u64,
    /// Runs of code and calls of tools that are not fireclay's, at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub max_runs: u32,
    /// What standard error has [default: info on a terminal, else error]
    #[arg(long, value_name = "LEVEL", ignore_case = true)]
    pub log_level: Option<Level>,
    /// A service whose sandboxes are used [default: FIRECLAY_URL, else the data directory's, which is started if need be]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
}

/// Arguments of `fireclay eval`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each line of DATASET is an object in JSON: {\"input\": the question, \"expected\": what the answer is held to, \"checker\": Python, \"id\": any text}.
A checker reads {\"input\", \"expected\", \"answer\"} as JSON on standard input and passes an answer by exit code 0; the last line that it prints
is the reason. It runs in a sandbox of its own. Without one an answer passes that has the expected text in it, as whole words.
Each verdict is a line of JSON on standard output as soon as it is there; how many passed, and what it cost, is on standard error.
Exit codes: 0 done; 1 fewer passed than --min-pass-rate wants, or something was not judged; 2 rejected; 130 stopped; 70 fault")]
pub struct EvalArguments {
    /// Questions and what is expected, a line of JSON each; - is standard input
    #[arg(value_name = "DATASET", value_hint = ValueHint::FilePath)]
    pub dataset: String,
    /// A checker for all lines that bring none
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub checker: Option<PathBuf>,
    /// The least part of the answers that must pass, 0 to 1
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = between::<0, 1>)]
    pub min_pass_rate: f64,
    /// How many questions are worked on at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub jobs: u32,
    /// Where verdicts go instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// How a question is answered.
    #[command(flatten)]
    pub task: TaskArguments,
}

fn between<const LEAST: i32, const MOST: i32>(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    let fits = (f64::from(LEAST)..=f64::from(MOST)).contains(&number);
    fits.then_some(number).ok_or_else(|| format!("expected a number from {LEAST} to {MOST}"))
}

/// How the model says that code should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tools {
    /// By calls; by blocks if the provider says that the model cannot call.
    Auto,
    /// By calls.
    Calls,
    /// By fenced blocks.
    Fenced,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AgentFormat {
    /// As it is.
    Text,
    /// With what it cost, and the last code.
    Json,
    /// The same as YAML.
    Yaml,
    /// With the program in a fence.
    Markdown,
}

/// What standard error has; each level has what those before it have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Level {
    /// Why there is no answer.
    Error,
    /// What a person should know.
    Warn,
    /// Each step.
    Info,
    /// What each request cost.
    Debug,
    /// All of each output.
    Trace,
}

/// Arguments of `fireclay secret`.
#[derive(Debug, Args)]
#[command(after_help = "\
Secrets are called like the variables that they stand for, such as OPENAI_API_KEY. One that is set without --host is a key of a provider
of models: a variable that is set wins, it lies in the data directory, in a file that only its owner can read, and is never in a sandbox.
One with --host is for code: a service keeps it, sealed, and what runs with `--secret NAME=HOST` can use it there without seeing it.")]
pub struct SecretArguments {
    /// What to do with secrets.
    #[command(subcommand)]
    pub command: SecretCommand,
}

/// The commands on secrets.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Keep a secret; its value is read from standard input
    Set {
        /// What it is called
        name: String,
        /// It is for code: a host that it may go to, over TLS; may be repeated
        #[arg(long = "host", value_name = "HOST[:PORT]")]
        hosts: Vec<String>,
    },
    /// List the names of secrets, and the hosts of those that are for code
    List,
    /// Forget a secret
    Remove {
        /// What it is called
        name: String,
    },
}
