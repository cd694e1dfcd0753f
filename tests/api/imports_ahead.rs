//! Environments that are used again: an interpreter waits in a sandbox of theirs with what their programs import, and is to its program like one that does not.

use super::packages::{completed, opened_for, start};
use super::tenancy::Tenancy;
use super::warm::zygotes;
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};

/// Says whether its interpreter had the package before it asked for it.
const ASKS: &str = "import sys\nwarm = 'six' in sys.modules\nimport six\nprint(warm, six.__name__)";

fn with_six(code: &str) -> Value {
    json!({"language": "python", "code": code, "packages": ["six==1.16.0"]})
}

/// Runs it until its interpreter had waited. There may be none that waits when a program comes; then it is as before.
fn until_warm(server: &Server) {
    while completed(server, &with_six(ASKS)).stdout != "True six\n" {}
}

#[test]
fn programs_that_come_again_find_their_imports_done() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let before = zygotes(&server).len();
    // Nobody knows yet what the first one imports.
    assert_eq!(completed(&server, &with_six(ASKS)).stdout, "False six\n");
    until_warm(&server);
    assert_eq!(zygotes(&server).len(), before, "a tenant's packages are in no zygote");
    // What only a start can give is had by a start.
    let mut with = with_six(ASKS);
    with["env"] = json!({"ANY": "thing"});
    assert_eq!(completed(&server, &with).stdout, "False six\n");
    // A file of the program's own comes before the package, as always.
    let mut shadowed = with_six("import sys\nprint('six' in sys.modules)\nimport six\nprint(six.x)");
    shadowed["files"] = json!([{"path": "six.py", "text": "x = 1"}]);
    assert_eq!(completed(&server, &shadowed).stdout, "False\n1\n");
    // Nothing of one program is in the next, and no two are alike by chance.
    let alters = "import six, random\nprint(getattr(six, 'left', None), random.random())\nsix.left = 1";
    let said: Vec<String> = (0..8).map(|_| completed(&server, &with_six(alters)).stdout).collect();
    assert!(said.iter().all(|line| line.starts_with("None ")), "{said:?}");
    let mut different = said.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), said.len(), "{said:?}");
    // A program without packages has none of it.
    let plain = json!({"language": "python", "code": "import sys; print('six' in sys.modules)"});
    assert_eq!(completed(&server, &plain).stdout, "False\n");
}

#[test]
fn each_tenant_has_its_own() {
    let data = Data::fresh();
    let opened = opened_for(&["pypi.org", "files.pythonhosted.org"]);
    let tenancy = Tenancy::start_in(&data, &["--set", &opened]);
    let said = |key: &str| {
        let (status, result) = tenancy.tell(key, "POST", "/v1/runs", &with_six(ASKS));
        assert_eq!(status, 200, "{result}");
        result["stdout"].as_str().unwrap().to_owned()
    };
    while said(&tenancy.a) != "True six\n" {}
    assert_eq!(said(&tenancy.b), "False six\n");
}
