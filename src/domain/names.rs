//! Names that operators choose, and the identity that nobody chooses.
//!
//! Names become DNS labels, so they obey the rules for those (RFC 1123, 2.1).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Text that cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name: 1 to 63 of a-z, 0-9 and '-', no '-' at either end")]
pub struct NotAName(String);

fn is_label(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAName;

            fn from_str(text: &str) -> Result<Self, NotAName> {
                if is_label(text) { Ok(Self(text.into())) } else { Err(NotAName(text.to_owned())) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAName;

            fn try_from(text: String) -> Result<Self, NotAName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// Name of a group, unique in the cluster; a label of the published zone.
    GroupName
);
name!(
    /// Name of a member, unique in its group.
    MemberName
);
name!(
    /// A failure domain that nodes and members are labelled with.
    Region
);

/// One life of a member: a data directory together with its agent's memory.
///
/// A wiped, re-cloned or rolled-back member is a new incarnation. Sync sets,
/// fences and promises name incarnations, never members, so what a member
/// forgot cannot be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub Uuid);

impl Incarnation {
    /// The identifier it bears inside PostgreSQL: its role, its replication
    /// slot and its `application_name`, so one walsender can be told apart
    /// from every other. 40 characters, within PostgreSQL's 63.
    #[must_use]
    pub fn postgres_identifier(self) -> String {
        format!("primacy_{}", self.0.simple())
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        assert!("orders-eu".parse::<GroupName>().is_ok());
        for refused in ["", "-a", "a-", "Orders", "a.b", "a_b", &"x".repeat(64)] {
            assert!(
                refused.parse::<GroupName>().is_err(),
                "{refused:?} was taken"
            );
        }
    }
}
