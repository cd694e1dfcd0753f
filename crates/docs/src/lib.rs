//! Documentation of the web as a model may read it: pages of one place, crawled politely, as Markdown, and found again by words.
//!
//! A page goes this way: its URL is within the [`Scope`] → robots.txt allows it ([`Robots`]) → it is fetched from an address that was
//! judged, or taken from the [`Cache`] if the server says that it has not changed → its bytes become text, its HTML Markdown
//! ([`markdown::convert`]) → its links come into the queue. What came of all is a [`Library`].
//!
//! All that is read here was written by strangers: every step is linear in what it is given, none recurses, and each has a limit. Nothing
//! here knows a model; who shows a library to one frames it as data (`docs/design/0022-docs-for-the-agent.md`).

mod cache;
mod charset;
mod crawl;
mod fetch;
mod library;
pub mod markdown;
mod robots;
mod scope;
mod search;

pub use cache::Cache;
pub use charset::decode;
pub use crawl::{CrawlError, Crawled, Limits, Step, crawl};
pub use library::{Library, Page};
pub use robots::Robots;
pub use scope::{BadUrl, Scope};
pub use search::Index;
