//! Every proof in one binary. A folder for each kind; a file that is not named here is found by `cargo xtask tidy`.

mod cli;
mod docs;
mod compat;
mod escape;
mod faults;
