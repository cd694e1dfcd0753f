//! The binary `fireclay`: arguments → settings → command → exit code. The only place that reads the environment or exits.

mod args;
mod client;
mod commands;
mod env;
mod exit;
mod local;
mod serving;
mod terminal;

use args::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = env::settings(&arguments);
    let done = match &arguments.command {
        Command::Run(run) => commands::run::run(run, &settings),
        Command::Session(session) => commands::session::session(session, &settings),
        Command::Batch(batch) => commands::batch::batch(batch, &settings),
        Command::Check(arguments) => commands::check::check(arguments),
        Command::Image(image) => commands::image::image(image, &settings),
        Command::Template(template) => commands::template::template(template, &settings),
        Command::Serve(serve) => commands::serve::serve(serve, &settings),
        Command::Local(local) => commands::local::local(local, &settings),
        Command::See(args::SeeCommand::Observe(observe)) => commands::observe::observe(observe, &settings),
        Command::See(args::SeeCommand::Top(top)) => commands::top::top(top, &settings),
        #[cfg(feature = "mcp")]
        Command::Mcp(mcp) => commands::mcp::mcp(mcp, &settings),
        #[cfg(not(feature = "mcp"))]
        Command::Mcp(_) => Err(args::left_out("mcp")),
        #[cfg(feature = "agent")]
        Command::Agent(agent) => commands::agent::agent(agent, &settings),
        #[cfg(feature = "agent")]
        Command::Eval(eval) => commands::agent::evaluate::evaluate(eval, &settings),
        #[cfg(feature = "agent")]
        Command::Secret(secret) => commands::secret::secret(secret, &settings),
        #[cfg(not(feature = "agent"))]
        Command::Agent(_) | Command::Eval(_) | Command::Secret(_) => Err(args::left_out("agent")),
        #[cfg(feature = "cluster")]
        Command::Many(many) => commands::cluster::many(many, &settings),
        #[cfg(not(feature = "cluster"))]
        Command::Many(_) => Err(args::left_out("cluster")),
        Command::Key(key) => commands::key::key(key, &settings),
        Command::Verify(verify) => commands::verify::verify(verify, &settings),
        Command::Cache(arguments) => commands::cache::cache(arguments, &settings),
        Command::Spawner => commands::serve::spawner(),
        Command::Egress => commands::serve::egress(),
        Command::Doctor(doctor) => commands::doctor::doctor(doctor, &settings),
        Command::Selftest(selftest) => commands::selftest::selftest(selftest, &settings),
        Command::Bench(bench) => commands::bench::bench(bench, &settings),
        Command::Completions { shell } => commands::complete::completions(*shell),
        Command::Man => commands::complete::man(),
    };
    exit::code_of(done)
}
