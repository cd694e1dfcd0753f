//! The loop that has a language model write code, runs it and shows the model what came of it, until there is an answer or a budget ends.
//!
//! It sees sandboxes only through [`Workbench`], and so can do nothing that a caller of the HTTP API cannot. It reads no environment and
//! prints nothing: what happens is told to a function of the caller's ([`Told`]).

mod beside;
mod bounded;
mod budget;
mod chat;
mod conversation;
mod credentials;
mod desk;
mod error;
mod fenced;
mod http;
mod mark;
mod prices;
mod provider;
mod report;
mod review;
mod secret;
mod solution;
mod surroundings;
mod told;
mod tools;
mod wire;
mod workbench;

pub use beside::{Beside, Called, Moment, Patience};
pub use bounded::{OUTPUT_BYTES_MAX, escaped, for_model};
pub use budget::{Budget, Limit, Spent};
pub use chat::{Chat, ToolStyle};
pub use conversation::{Sampling, Tokens, Tool};
pub use desk::{Approval, Desk, End, Ended};
pub use error::ModelError;
pub use http::Failed;
pub use mark::Mark;
pub use prices::{dollars, prices_as_of};
pub use provider::{Provider, Row, Watch, rows};
pub use report::of_run;
pub use review::{Reviewed, Reviewer, review};
pub use secret::{Redactor, Secret};
pub use solution::{Problem, Solution, solve};
pub use surroundings::Surroundings;
pub use told::Told;
pub use workbench::{BenchError, Program, Workbench};
