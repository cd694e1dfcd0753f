//! What packages a program needs, and whether policy lets it have them. Pure: no network, no processes, no files.
//!
//! What a caller says is parsed strictly: [`requirement`] (a list), [`requirements_txt`], [`pyproject`], [`script`] (PEP 723) for Python,
//! [`npm`] and [`package_json`] for JavaScript. What a program imports is read from its syntax tree ([`python`], [`javascript`]) and mapped to
//! distributions by a table ([`distributions`]). [`policy`] says which of them it may have, [`agentrun`] the same in AgentRun's words, and
//! [`lock`] what the environment that comes of it is called, [`npm_lock`] what npm is going to install. Everything is bounded by the constants here, and nothing panics on any text.

pub mod agentrun;
pub mod distributions;
pub mod interpreter;
pub mod javascript;
pub mod lock;
pub mod magic;
mod marker;
pub mod name;
pub mod npm;
pub mod npm_lock;
pub mod package_json;
pub mod policy;
pub mod pyproject;
pub mod python;
pub mod refused;
pub mod requirement;
pub mod requirements_txt;
pub mod script;
pub mod stdlib;
#[cfg(test)]
mod tests;
pub mod version;

/// Longest file of requirements, metadata or locks. A lock of the largest applications has some hundred kilobytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Most packages that are asked for, and most of a lock.
pub const ENTRIES_MAX: usize = 1000;
/// Longest requirement.
pub const ENTRY_BYTES_MAX: usize = 2048;
/// Longest name of a Python distribution; the longest on PyPI have about 80 bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Most extras of one requirement.
pub const EXTRAS_MAX: usize = 32;
/// Most version conditions of one requirement.
pub const SPECIFIERS_MAX: usize = 32;
/// Longest environment marker.
pub const MARKER_BYTES_MAX: usize = 1024;
/// Most brackets of a marker that are open at once.
pub const MARKER_DEPTH_MAX: usize = 16;
/// Most hashes of one entry of a lock: a release has a file for each platform.
pub const HASHES_MAX: usize = 1000;
/// Most different modules of one program that are looked at.
pub const IMPORTS_MAX: usize = 1000;
/// Longest name of a module that is looked at.
pub const MODULE_BYTES_MAX: usize = 256;
