//! The command line, as a user meets it.

mod bench;
mod check;
mod doctor;
mod key;
mod local;
mod run;
mod served;
mod session;
mod template;
mod top;
