//! What two runs must not have in common: random state, names, addresses (SE-04 to SE-07).

use fireclay_tests::{Order, drive};
use model::{Language, RunRequest};
use std::collections::BTreeSet;

const PYTHON: &str = r#"
import ctypes, os, random, secrets, ssl, tempfile, uuid
print("hash seed", hash("x"))
print("random", random.random())
print("uuid4", uuid.uuid4())
print("uuid1's node", uuid.getnode())
print("temporary name", next(tempfile._get_candidate_names()))
print("secrets", secrets.token_hex(8))
print("OpenSSL", ssl.RAND_bytes(8).hex())
print("kernel's uuid", open("/proc/sys/kernel/random/uuid").read().strip())
print("heap", hex(id(object())))
print("stack", hex(ctypes.addressof(ctypes.c_int.from_buffer(bytearray(4)))))
print("program", open("/proc/self/maps").readline().split("-")[0])
print("stack guard", open("/proc/self/auxv", "rb").read().hex())
"#;

const JAVASCRIPT: &str = r"
const crypto = require('crypto');
console.log('Math', Math.random());
console.log('bytes', crypto.randomBytes(8).toString('hex'));
console.log('uuid', crypto.randomUUID());
console.log('temporary name', require('fs').mkdtempSync('/tmp/x'));
";

const BASH: &str =
    "echo random $RANDOM$RANDOM$RANDOM; echo srandom $SRANDOM; echo temporary name $(mktemp -u)";

/// Enough for a state that rotates slowly to come round.
const RUNS: usize = 8;

#[test]
fn se_04_runs_share_no_randomness() {
    for (language, code) in
        [(Language::Python, PYTHON), (Language::JavaScript, JAVASCRIPT), (Language::Bash, BASH)]
    {
        let request = RunRequest { language: Some(language), code: code.into(), ..RunRequest::default() };
        let order = Order { request, ..Order::default() };
        let mut seen = BTreeSet::new();
        for _ in 0..RUNS {
            let result = drive(&order);
            assert_eq!(result.stderr, "");
            for line in result.stdout.lines() {
                assert!(seen.insert(line.to_owned()), "{language}: twice the same: {line}");
            }
        }
    }
}
