//! Completion scripts and the manual page, from the same table as `--help`.

use crate::args::Arguments;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io;

/// Prints the completion script of a shell.
pub fn completions(shell: Shell) -> anyhow::Result<u8> {
    clap_complete::generate(shell, &mut Arguments::command(), "fireclay", &mut io::stdout().lock());
    Ok(0)
}

/// Prints the manual page of the program, in roff.
pub fn man() -> anyhow::Result<u8> {
    clap_mangen::Man::new(Arguments::command()).render(&mut io::stdout().lock())?;
    Ok(0)
}
