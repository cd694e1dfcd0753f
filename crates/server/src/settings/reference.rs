//! The reference page of settings, made from their table.

use super::{Row, Settings, TABLE, variable_of};

const REFERENCE_HEAD: &str = "\
# Settings of `fireclay serve`

Made from the table in `crates/server/src/settings.rs`; a test compares them. A file (`--config FILE`, TOML) is overruled by the
environment, and that by flags (`--listen ADDRESS`, `--set NAME=VALUE`). Sizes and times take a unit: `\"64MiB\"`, `\"30s\"`.

| setting | variable | default | means |
|---|---|---|---|
";

impl Settings {
    /// The reference page.
    pub fn reference() -> String {
        let mut page = String::from(REFERENCE_HEAD);
        for Row { name, default, doc } in TABLE {
            page.push_str(&format!("| `{name}` | `{}` | `{default}` | {doc} |\n", variable_of(name)));
        }
        page
    }
}
