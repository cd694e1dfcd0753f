//! The command line, as a user meets it.

mod bench;
mod doctor;
mod key;
mod run;
mod served;
mod session;
mod template;
