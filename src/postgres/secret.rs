//! The secret that a group's agents share, and the passwords made from it.
//!
//! Every incarnation has a replication password of its own, which the agent
//! of the primary and the agent of the standby both compute: nothing is sent,
//! and a password learnt from one member opens no other member's slot.

use std::{fmt, fs, os::unix::fs::PermissionsExt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

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
        let digest = hmac(&self.0, &[incarnation.0.as_bytes()]);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What PostgreSQL stores for that password: the columns of `pg_authid`
    /// are described in its documentation, the keys in RFC 5802, section 3.
    ///
    /// One iteration, where 4,096 are usual: they make guessing dear, and
    /// nobody guesses 256 bits. A standby that reconnects in a failover would
    /// spend five milliseconds on them.
    pub(super) fn verifier(&self, incarnation: Incarnation) -> String {
        let salt = *uuid::Uuid::new_v4().as_bytes();
        verifier(&self.password(incarnation), salt)
    }
}

fn verifier(password: &str, salt: [u8; 16]) -> String {
    // `Hi` of RFC 5802 with an iteration count of one.
    let salted = hmac(password.as_bytes(), &[&salt, &1_u32.to_be_bytes()]);
    let stored = Sha256::digest(hmac(&salted, &[b"Client Key"]));
    let server = hmac(&salted, &[b"Server Key"]);
    let [salt, stored, server] = [&salt[..], &stored[..], &server[..]].map(|it| BASE64.encode(it));
    format!("SCRAM-SHA-256$1:{salt}${stored}:{server}")
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    #[allow(clippy::unwrap_used)] // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
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

    #[test]
    fn the_verifier_is_what_pbkdf2_of_one_iteration_gives() {
        let salt = std::array::from_fn(|at| at as u8);
        let expected = "SCRAM-SHA-256$1:AAECAwQFBgcICQoLDA0ODw==$\
            ulPBEMD7pdxjBcsUkN1eHH+6PaNEw+VlbDgOlKfXVz0=:\
            FLxfly9TUma+46jkj8QyTfQMWRqeNyK1YOt6NKVPr/I=";
        assert_eq!(verifier("pencil", salt), expected);
    }
}
