//! Whether binaries, directory and record are of the same database.

use super::{
    control::ControlData,
    error::{Error, Result},
    files,
    instance::Instance,
    tool,
};

impl ControlData {
    /// Checks that this is the database on record.
    ///
    /// # Errors
    /// [`Error::OtherSystem`].
    pub fn check_system(&self, wanted: u64) -> Result<()> {
        let found = self.system_identifier;
        if found == wanted {
            Ok(())
        } else {
            Err(Error::OtherSystem { found, wanted })
        }
    }
}

/// Checks that the binaries are of the data directory's major version, if
/// there is a directory yet.
///
/// # Errors
/// When they differ, or either cannot be read.
pub async fn check_binaries(instance: &Instance) -> Result<()> {
    let mut command = tool::command(instance, "postgres");
    let output = tool::run(command.arg("--version")).await?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let binaries = major(&answer).ok_or_else(|| Error::Unreadable {
        place: "the answer of `postgres --version`".to_owned(),
        found: answer.to_string(),
    })?;
    if !number(&answer).is_some_and(is_supported) {
        return Err(Error::TooOld(answer.trim().to_owned()));
    }
    let path = instance.data.join("PG_VERSION");
    // Without a directory any version will do: it is yet to be made.
    let Some(found) = files::read(&path)?.map(|text| text.trim().to_owned()) else {
        return Ok(());
    };
    if found == binaries {
        return Ok(());
    }
    let binaries = binaries.to_owned();
    Err(Error::Version {
        path,
        found,
        binaries,
    })
}

/// Whether this release waits for synchronous standbys from its first commit
/// on: earlier minor releases may not, just after their start. `version` is
/// a `server_version_num`.
#[must_use]
pub fn is_supported(version: u32) -> bool {
    match version / 10_000 {
        15 => version >= 150_013,
        16 => version >= 160_009,
        17 => version >= 170_005,
        major => major >= 18,
    }
}

/// Its `server_version_num`: 150018 of 15.18, 180000 of 18beta1.
fn number(answer: &str) -> Option<u32> {
    let mut parts = answer
        .split_whitespace()
        .nth(2)?
        .split(|c: char| !c.is_ascii_digit());
    let major: u32 = parts.next()?.parse().ok()?;
    let minor = parts.next().and_then(|part| part.parse::<u32>().ok());
    Some(major * 10_000 + minor.unwrap_or(0))
}

/// `15` of `postgres (PostgreSQL) 15.18 (Debian 15.18-1)`.
fn major(answer: &str) -> Option<&str> {
    let version = answer.split_whitespace().nth(2)?;
    Some(version.split(|c: char| !c.is_ascii_digit()).next()?).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_with_the_start_up_race_are_refused() {
        let accepted = [150_018, 150_013, 160_009, 170_005, 180_000];
        let refused = [140_018, 150_012, 160_008, 170_004];
        assert!(accepted.into_iter().all(is_supported));
        assert!(!refused.into_iter().any(is_supported));
    }

    #[test]
    fn the_major_version_is_read_from_any_packaging() {
        assert_eq!(
            major("postgres (PostgreSQL) 15.18 (Debian 15.18-1)"),
            Some("15")
        );
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some("18"));
        let numbered = |release| number(&format!("postgres (PostgreSQL) {release} (Debian)"));
        assert_eq!(numbered("15.18"), Some(150_018));
        assert_eq!(numbered("17.4"), Some(170_004));
        assert_eq!(numbered("18"), Some(180_000));
        assert_eq!(major("postgres"), None);
    }
}
