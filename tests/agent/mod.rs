//! `fireclay agent` against a model that says what a file tells it to, with real sandboxes: the stories of the five seeds, every wire
//! format, everything that goes wrong on the way, and what a person sees.

mod ag;
mod budgets;
mod chat;
mod docs;
mod many;
mod model;
mod others;
mod packages;
mod person;
mod reviews;
mod secrets;
mod stories;
mod tasks;
mod traces;
mod trouble;

use fireclay_tests::run::feed;
use fireclay_tests::{Ran, Server};
use model::Model;

/// What the tests pay with. No sandbox and no output may have it.
const KEY: &str = "sk-test-51Hq9Zk2Lw8Vb4Xc";

/// `fireclay agent` with the sandboxes of this service.
fn agent(server: &Server, model: &Model, provider: &str, args: &[&str], stdin: &[u8]) -> Ran {
    feed(with_keys(server, model, provider, "agent").args(args), stdin)
}

/// The same of this command, without anything on standard input.
fn agent_command(server: &Server, model: &Model, provider: &str, command: &str, args: &[&str]) -> Ran {
    feed(with_keys(server, model, provider, command).args(args), b"")
}

fn with_keys(server: &Server, model: &Model, provider: &str, command: &str) -> std::process::Command {
    let base_url = model.base_url(provider);
    let mut command = server.data.command(&[command, "--model", provider, "--base-url", &base_url]);
    for name in
        ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY", "DEEPSEEK_API_KEY"]
    {
        command.env(name, KEY);
    }
    command
}
