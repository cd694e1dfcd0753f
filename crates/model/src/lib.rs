//! The words of fireclay, as types: what is asked, what will be done, what became of it.
//!
//! Nothing here does I/O, reads a clock or an environment; other crates agree on these types and on nothing else.
//! Reading order: a [`RunRequest`] (as said) is admitted into a [`RunSpec`] (complete) and settles as a [`RunResult`].

pub mod background;
pub mod base64;
pub mod egress;
pub mod finding;
pub mod id;
pub mod isolation;
pub mod language;
pub mod limits;
pub mod object;
pub mod outcome;
pub mod policy;
pub mod priority;
pub mod rejection;
pub mod request;
pub mod result;
pub mod spec;
pub mod template;
pub mod trace;
pub mod units;

pub use background::Background;
pub use egress::{Egress, EgressAttempt, EgressVerdict, check_secret_name, placeholder};
pub use finding::{CheckMode, CheckPatch, CheckPolicy, Finding, Severity};
pub use id::{BatchId, RunId, SessionId, TaskId, TenantId};
pub use isolation::{Isolation, Layer};
pub use language::Language;
pub use limits::{Limits, LimitsPatch};
pub use outcome::{Fault, FaultCode, Limit, Outcome};
pub use policy::Policy;
pub use priority::Priority;
pub use rejection::Rejection;
pub use request::{InputFile, RunRequest};
pub use result::RunResult;
pub use spec::RunSpec;
pub use template::{TEMPLATE_DIRECTORY, TemplateDefinition};
pub use trace::{SpanId, TraceId, TraceParent};
