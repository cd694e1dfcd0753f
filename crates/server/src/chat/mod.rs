//! Chat completions with a sandbox: a client's request goes to the service's model with our tool added, the code that the model calls it with
//! runs here, and the client gets the answer that comes of it.
//!
//! Each of the `n` choices is a conversation of its own. In each turn the model answers; calls of our tool are done in their order and what
//! came of them is put to it again; calls of the client's tools end the answer, as they do without us. What the client has not seen of a
//! conversation that it goes on with (our calls, and what came of them) is remembered for it ([`Parted`]).
//!
//! A request of OpenAI's responses is one of chat completions in other words ([`Wanted`]), and so is its answer ([`Output`]): its clients see the
//! calls of our tool, too, as calls of the code interpreter.

mod asked;
mod conversation;
mod items;
mod output;
mod parted;
mod recorded;
mod tool;
mod turn;
mod wanted;
mod wrong;

pub use asked::Asked;
pub use conversation::{Choice, Conversation, Ran, Shared, Told, WAITING_MAX};
pub use output::Output;
pub use parted::{Hidden, Parted};
pub use recorded::Place;
pub use wanted::Wanted;
pub use wrong::Wrong;
