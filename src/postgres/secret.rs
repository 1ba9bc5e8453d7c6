//! The secret that a group's agents share, and the passwords made from it.
//!
//! Every incarnation has a replication password of its own, which the agent
//! of the primary and the agent of the standby both compute: nothing is sent,
//! and a password learnt from one member opens no other member's slot.

use std::{fmt, fs, os::unix::fs::PermissionsExt, path::Path};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{
    error::{Error, Result},
    files::at,
};
use crate::domain::Incarnation;

/// Fewest bytes of a secret.
const SHORTEST: usize = 32;

/// A group's replication secret. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads it from a file, which nobody but its owner may read.
    ///
    /// # Errors
    /// When the file is open to others or holds fewer than 32 bytes.
    pub fn read(path: &Path) -> Result<Self> {
        let refuse = |reason: String| Error::Configuration {
            file: path.to_owned(),
            reason,
        };
        let mode = fs::metadata(path)
            .map_err(at("look at", path))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(refuse(format!(
                "others may read this secret (mode {mode:o}); chmod 600"
            )));
        }
        let bytes = fs::read(path).map_err(at("read", path))?;
        Self::new(bytes.trim_ascii())
            .ok_or_else(|| refuse(format!("a secret has at least {SHORTEST} bytes")))
    }

    /// A secret of at least 32 bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= SHORTEST).then(|| Self(bytes.to_owned()))
    }

    /// The replication password of an incarnation, in hexadecimal.
    pub(super) fn password(&self, incarnation: Incarnation) -> String {
        #[allow(clippy::unwrap_used)] // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap();
        mac.update(incarnation.0.as_bytes());
        let digest = mac.finalize().into_bytes();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What PostgreSQL stores for that password ("Password Authentication").
    pub(super) fn verifier(&self, incarnation: Incarnation) -> String {
        postgres_protocol::password::scram_sha_256(self.password(incarnation).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_differ_by_incarnation_and_are_never_printed() {
        let secret = Secret::new(&[7; 32]).expect("long enough");
        let [one, two] = [1, 2].map(|n| Incarnation(uuid::Uuid::from_u128(n)));
        assert_ne!(secret.password(one), secret.password(two));
        assert_eq!(secret.password(one), secret.password(one));
        assert_eq!(secret.password(one).len(), 64);
        assert_eq!(format!("{secret:?}"), "Secret");
        assert!(Secret::new(&[7; 31]).is_none());
    }
}
