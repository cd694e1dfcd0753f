//! `/v1/runs`: submit, list, look at, take back or forget.

use fireclay_tests::Server;
use serde_json::json;

#[test]
fn a_run_is_answered_when_it_is_settled() {
    let server = Server::start(&[]);
    let result = server.run(&json!({"language": "python", "code": "print(6 * 7)"}));
    assert_eq!(result.stdout, "42\n");
}
