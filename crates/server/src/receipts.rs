//! Receipts: what the service states about a run, signed with Ed25519 (RFC 8032) so that others can rely on it later.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use model::result::Receipt;
use model::{RunResult, base64};
use serde::Serialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What kind of statement this is; changes when its fields do.
const KIND: &str = "fireclay.run/1";
/// The file of the secret key in the data directory.
const KEY_FILE: &str = "receipt.key";

/// Signs receipts.
pub struct Signer {
    key: SigningKey,
}

/// Leaves the secret out.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("public_key", &self.public_key()).finish_non_exhaustive()
    }
}

/// Why a receipt does not prove a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// There is none.
    #[error("the result carries no receipt")]
    Absent,
    /// Key, signature or statement are not what they should be.
    #[error("the receipt's {0} cannot be read")]
    Malformed(&'static str),
    /// Somebody else signed, or the statement was changed.
    #[error("the signature is not of this statement by this key")]
    Signature,
    /// Another key than the one that is trusted.
    #[error("the receipt was signed with {found}, not with {trusted}")]
    Key {
        /// Who signed.
        found: String,
        /// Who should have.
        trusted: String,
    },
    /// The result says something else than the statement.
    #[error("the result's {0} is not what was signed")]
    Differs(String),
}

impl Signer {
    /// Reads the key of a data directory, or makes one that only its owner can read.
    pub fn open(data: &Path) -> io::Result<Self> {
        if let Some(own) = Self::find(data)? {
            return Ok(own);
        }
        let mut secret = [0; 32];
        for half in secret.chunks_mut(16) {
            half.copy_from_slice(&sys::fs::random()?);
        }
        // Whole under its name, or not there: a crash between leaves a file that the next start overwrites.
        let path = data.join(KEY_FILE);
        let fresh = path.with_extension("fresh");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&secret)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        Ok(Self { key: SigningKey::from_bytes(&secret) })
    }

    /// Reads the key of a data directory, if it has one.
    pub fn find(data: &Path) -> io::Result<Option<Self>> {
        let mut secret = [0; 32];
        match File::open(data.join(KEY_FILE)) {
            Ok(mut file) => file.read_exact(&mut secret)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(Some(Self { key: SigningKey::from_bytes(&secret) }))
    }

    /// The public key, in base64.
    pub fn public_key(&self) -> String {
        base64::encode(self.key.verifying_key().as_bytes())
    }

    /// States what became of a run.
    pub fn sign(&self, result: &RunResult) -> Receipt {
        let statement = statement(result).to_string();
        let signature = base64::encode(&self.key.sign(statement.as_bytes()).to_bytes());
        Receipt { statement, signature, public_key: self.public_key() }
    }
}

/// The fields that are signed: all that the supervisor saw, and digests of all else.
fn statement(result: &RunResult) -> Value {
    fn value(part: &impl Serialize) -> Value {
        serde_json::to_value(part).unwrap_or(Value::Null)
    }
    json!({
        "kind": KIND, "id": value(&result.id), "created_at": result.created_at, "language": value(&result.language),
        "outcome": value(&result.outcome), "fault": value(&result.fault.as_ref().map(|fault| fault.code)),
        "exit_code": result.exit_code, "signal": result.signal, "limits_hit": value(&result.limits_hit),
        "usage": value(&result.usage), "isolation": value(&result.isolation), "digests": value(&result.digests),
    })
}

/// Checks the receipt of a result, as `GET /v1/runs/{id}` gave it: the signature holds, it is of `trusted` if that is given, and the
/// result says what was signed. That stdout, stderr and artifacts are what `digests.outputs` says is left to
/// [`worker::run::outputs_digest`].
pub fn verify(result: &RunResult, trusted: Option<&str>) -> Result<(), ReceiptError> {
    let receipt = result.receipt.as_ref().ok_or(ReceiptError::Absent)?;
    if let Some(trusted) = trusted.filter(|trusted| *trusted != receipt.public_key) {
        return Err(ReceiptError::Key { found: receipt.public_key.clone(), trusted: trusted.to_owned() });
    }
    let key = decoded(&receipt.public_key).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    let signature = decoded(&receipt.signature).map(|bytes| Signature::from_bytes(&bytes));
    let key = key.ok_or(ReceiptError::Malformed("public key"))?;
    let signature = signature.ok_or(ReceiptError::Malformed("signature"))?;
    key.verify_strict(receipt.statement.as_bytes(), &signature).map_err(|_| ReceiptError::Signature)?;
    let signed: Value =
        serde_json::from_str(&receipt.statement).map_err(|_| ReceiptError::Malformed("statement"))?;
    let said = statement(result);
    let differs =
        said.as_object().into_iter().flatten().find(|(name, value)| signed.get(name) != Some(value));
    match differs {
        Some((name, _)) => Err(ReceiptError::Differs(name.clone())),
        None if worker::run::outputs_digest(result) != result.digests.outputs => {
            Err(ReceiptError::Differs("output".to_owned()))
        }
        None => Ok(()),
    }
}

fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    base64::decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(directory: &Path) -> RunResult {
        let text = r#"{"id":"run_00000000000000000000000000","state":"settled","outcome":"completed","fault":null,"exit_code":0,
            "signal":null,"stdout":"2\n","stderr":"","stdout_truncated":false,"stderr_truncated":false,"limits_hit":[],"result":null,
            "displays":[],"error":null,"artifacts":[],"findings":[],"egress":[],"session":null,"language":"python",
            "created_at":"2026-01-01T00:00:00.000Z","metadata":{},"usage":{"wall_ms":1,"cpu_ms":1,"memory_peak_bytes":1,"queue_ms":0},
            "isolation":{"level":"default","layers":["userns"],"missing":[]},
            "digests":{"code":"","inputs":"","image":"","policy":"","outputs":""}}"#;
        let mut result: RunResult = serde_json::from_str(text).unwrap();
        result.digests.outputs = worker::run::outputs_digest(&result);
        result.receipt = Some(Signer::open(directory).unwrap().sign(&result));
        result
    }

    #[test]
    fn a_receipt_holds_until_anything_is_changed() {
        let directory = tempfile::tempdir().unwrap();
        let genuine = result(directory.path());
        let key = Signer::open(directory.path()).unwrap().public_key();
        // As it comes over the wire.
        let genuine: RunResult = serde_json::from_str(&serde_json::to_string(&genuine).unwrap()).unwrap();
        assert_eq!(verify(&genuine, Some(&key)), Ok(()));
        let changed = |change: fn(&mut RunResult)| {
            let mut result = genuine.clone();
            change(&mut result);
            verify(&result, Some(&key)).unwrap_err().to_string()
        };
        insta::assert_snapshot!(changed(|result| result.exit_code = Some(1)), @"the result's exit_code is not what was signed");
        insta::assert_snapshot!(changed(|result| result.stdout.push('x')), @"the result's output is not what was signed");
        insta::assert_snapshot!(changed(|result| result.isolation.layers.clear()), @"the result's isolation is not what was signed");
        insta::assert_snapshot!(changed(|result| result.receipt = None), @"the result carries no receipt");
        let forge = |result: &mut RunResult| {
            let receipt = result.receipt.as_mut().unwrap();
            receipt.statement = receipt.statement.replace("completed", "failed");
        };
        insta::assert_snapshot!(changed(forge), @"the signature is not of this statement by this key");
        assert!(matches!(verify(&genuine, Some("other")), Err(ReceiptError::Key { .. })));
    }
}
