//! The battery as an ordinary user fires it, at sandboxes of its own: usually without a control group. What that layer alone holds
//! off is named as not defended; all else is held off as for root.

use fireclay_tests::Ordinary;
use fireclay_tests::run::loudly;
use serde_json::Value;
use std::collections::BTreeSet;
use worker::battery::attacks;

#[test]
fn an_ordinary_user_is_told_what_is_not_defended_and_holds_off_the_rest() {
    let Some(user) = Ordinary::prepare() else { return };
    let output = user.fireclay().args(["selftest", "--json"]).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let count = |what: &str| report["total"][what].as_u64().expect("the score has it") as usize;
    let open = report["not_held"].as_array().expect("the score lists them");
    assert_eq!((count("breached"), count("inconclusive")), (0, 0), "{open:#?}");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(count("held") + open.len(), attacks().len());
    // Each that was not held off is named, and is one that needs what is missing.
    let named: BTreeSet<&str> = open.iter().filter_map(|attack| attack["id"].as_str()).collect();
    let needs: BTreeSet<&str> =
        attacks().iter().filter(|attack| !attack.needs.is_empty()).map(|attack| attack.id).collect();
    assert_eq!((open.len(), named.difference(&needs).next()), (count("undefended"), None), "{open:#?}");
    let lacks_groups =
        report["missing"].as_array().is_some_and(|missing| missing.iter().any(|layer| layer == "cgroup"));
    if lacks_groups {
        // Hidden memory (RS-101) and too much of it (RS-04) are what nothing else stops.
        assert!(named.contains("RS-101") && named.contains("RS-04"), "{named:?}");
        loudly(&format!("as an ordinary user, without a control group, these are not defended: {named:?}"));
    } else {
        assert_eq!(named, BTreeSet::new());
    }
}
