//! Secrets at rest: sealed with a key that lies beside the database in a file of its own, so that a copy of the database alone tells none.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const KEY_BYTES: usize = 32;

/// What seals and opens: ChaCha20-Poly1305 (RFC 8439) with a random nonce for each value, of which a service keeps some hundreds at most.
pub struct Sealer {
    key: LessSafeKey,
}

/// Why a value could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was not sealed with this key for this name")]
pub struct Broken;

impl Sealer {
    /// The one whose key is in this file, which is made (0600) if it is not there.
    ///
    /// # Errors
    /// What the file system says; a file that others can read, or that is not a key.
    pub fn open(path: &Path) -> io::Result<Self> {
        let wrong =
            |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let mut key = [0; KEY_BYTES];
                SystemRandom::new().fill(&mut key).map_err(|_| wrong("the kernel gives no random bytes"))?;
                file.write_all(&key)?;
                file.sync_all()?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let file = File::open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            return Err(wrong("others can read it; `chmod 600` it, and set its secrets anew if they did"));
        }
        let mut key = Vec::new();
        (&file).take(KEY_BYTES as u64 + 1).read_to_end(&mut key)?;
        let key =
            UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(|_| wrong("it is not a key of 32 bytes"))?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// A value, sealed for whoever knows `what` it is: the nonce, then the ciphertext with its tag.
    ///
    /// # Errors
    /// None but a kernel without random bytes.
    pub fn seal(&self, what: &str, value: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Broken)?;
        let mut sealed = value.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(unique, Aad::from(what), &mut sealed).map_err(|_| Broken)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// The value that was sealed for `what`.
    ///
    /// # Errors
    /// [`Broken`] for anything else than what this key sealed for it, unchanged.
    pub fn open_sealed(&self, what: &str, sealed: &[u8]) -> Result<Vec<u8>, Broken> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Broken)?;
        let mut value = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key.open_in_place(nonce, Aad::from(what), &mut value).map_err(|_| Broken)?.len();
        value.truncate(length);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn what_is_sealed_opens_for_its_name_and_key_only() {
        let place = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&place.path().join("a")).unwrap();
        let sealed = sealer.seal("t\0KEY", b"the value").unwrap();
        assert!(!sealed.windows(9).any(|window| window == b"the value"));
        assert_ne!(sealed, sealer.seal("t\0KEY", b"the value").unwrap());
        // The same file is the same key.
        let again = Sealer::open(&place.path().join("a")).unwrap();
        assert_eq!(again.open_sealed("t\0KEY", &sealed).unwrap(), b"the value");
        let other = Sealer::open(&place.path().join("b")).unwrap();
        assert_eq!(other.open_sealed("t\0KEY", &sealed), Err(Broken));
        assert_eq!(sealer.open_sealed("u\0KEY", &sealed), Err(Broken));
        let mut bent = sealed.clone();
        bent[20] ^= 1;
        assert_eq!(sealer.open_sealed("t\0KEY", &bent), Err(Broken));
        assert_eq!(sealer.open_sealed("t\0KEY", &sealed[..5]), Err(Broken));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        Sealer::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(Sealer::open(&path).is_err_and(|error| error.to_string().contains("chmod 600")));
        let short = place.path().join("short");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&short)
            .unwrap()
            .write_all(b"x")
            .unwrap();
        assert!(Sealer::open(&short).is_err());
    }
}
