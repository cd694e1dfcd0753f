//! Python's standard library: which version of Python has which module. The table is `tables/stdlib.txt`; `tables/stdlib.py` makes it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The first and the last version 3.x that is known.
pub const MINORS: (u8, u8) = (9, 14);

/// The first and last 3.x that has each module.
static MODULES: LazyLock<BTreeMap<&str, (u8, u8)>> = LazyLock::new(|| {
    let lines = include_str!("../tables/stdlib.txt").lines();
    let row = |line: &'static str| {
        let mut words = line.split(' ');
        Some((words.next()?, (words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
    };
    lines.filter_map(row).collect()
});

/// Whether Python 3.`minor` has a module of this name, without dots. A version older or newer than is known is taken for the nearest.
pub fn has(module: &str, minor: u8) -> bool {
    let minor = minor.clamp(MINORS.0, MINORS.1);
    MODULES.get(module).is_some_and(|(first, last)| (*first..=*last).contains(&minor))
}

/// Whether any known version of Python has a module of this name.
pub fn had(module: &str) -> bool {
    MODULES.contains_key(module)
}
