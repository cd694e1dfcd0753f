//! What `fireclay key` is told.

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use model::{TenantId, units};
use std::path::PathBuf;
use std::str::FromStr;

/// Arguments of `fireclay key`.
#[derive(Debug, Args)]
#[command(after_help = "\
Works on the data directory; while a service has it, that service is asked, and with --url another one.
A service that has keys wants one with the role admin: FIRECLAY_API_KEY or --api-key-file.")]
pub struct KeyArguments {
    /// A service to ask, such as http://127.0.0.1:8000 [default: FIRECLAY_URL, else the data directory]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
    /// A file whose first line is the key for that service
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub api_key_file: Option<PathBuf>,
    /// As JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do with keys.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// The commands on keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it: it is shown this once
    Create {
        /// What it may do: all of its tenant's own, or everything of everybody
        #[arg(long, value_name = "ROLE", default_value = "tenant")]
        role: KeyRole,
        /// Whose it is
        #[arg(long, value_name = "NAME", default_value = "local", value_parser = TenantId::from_str)]
        tenant: TenantId,
        /// What people call it
        #[arg(long, value_name = "TEXT", default_value = "")]
        name: String,
        /// When it stops working, such as 720h [default: never]
        #[arg(long, value_name = "TIME", value_parser = units::parse_duration_ms)]
        expires_in: Option<u64>,
    },
    /// List keys, newest first, revoked and expired ones too
    List {
        /// Of this tenant
        #[arg(long, value_name = "NAME", value_parser = TenantId::from_str)]
        tenant: Option<TenantId>,
    },
    /// Revoke a key, now and for good
    Revoke {
        /// Its public part: what stands between the underscores
        id: String,
    },
}

/// What a key may do, as the command line says it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum KeyRole {
    /// Everything, of every tenant.
    Admin,
    /// What is its tenant's own.
    Tenant,
}
