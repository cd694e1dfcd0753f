//! The probes' own rules; what they find on this machine is tested from outside, by `fireclay doctor`.

use super::namespaces::translate;

#[test]
fn ids_are_translated_by_the_map_that_holds_them() {
    let map = "         0     100000      65536\n     70000          0          1\n";
    assert_eq!(translate(map, 0), Some(100_000));
    assert_eq!(translate(map, 65_535), Some(165_535));
    assert_eq!(translate(map, 65_536), None);
    assert_eq!(translate(map, 70_000), Some(0), "root is found out");
    assert_eq!(translate("", 0), None);
}
