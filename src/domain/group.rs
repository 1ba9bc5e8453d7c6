//! What an operator asks for: a group, its members, its durability.

use std::{collections::BTreeSet, fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{GroupName, MemberName, Region};

/// How far acknowledged writes are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Never acknowledges with fewer than one synchronous standby.
    #[default]
    Strict,
    /// May go on alone when every standby is lost, and says so.
    Available,
    /// Always acknowledges alone.
    Async,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Strict => "strict",
            Self::Available => "available",
            Self::Async => "async",
        })
    }
}

/// Who touches a member's PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// An agent and its fuse beside the data directory.
    #[default]
    Process,
    /// Reached by SQL only; never counts in a fence.
    Sql,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemberSpec {
    pub name: MemberName,
    pub region: Region,
    /// Where clients and the other members reach it; an IP address, because
    /// it is published as one.
    pub address: SocketAddr,
    #[serde(default)]
    pub control: Control,
    /// Never promoted.
    #[serde(default)]
    pub no_failover: bool,
    /// Higher is preferred among equals.
    #[serde(default)]
    pub priority: i32,
}

/// A group as the operator applied it. Durations in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupSpec {
    pub name: GroupName,
    pub durability: Durability,
    /// How many synchronous standbys must have a commit.
    pub sync_k: u32,
    /// Members that may be synchronous standbys; empty means all.
    pub sync_members: BTreeSet<MemberName>,
    pub ttl_ms: u64,
    pub suspect_after_ms: u64,
    pub max_lag_bytes: u64,
    pub check_window_ms: u64,
    /// The member that holds the first epoch.
    pub initial_primary: MemberName,
    /// Set to adopt an existing cluster instead of making one.
    pub system_identifier: Option<u64>,
    pub members: Vec<MemberSpec>,
}

/// Why a group cannot be as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum SpecError {
    #[error("member {0} is listed twice")]
    MemberTwice(MemberName),
    #[error("members {0} and {1} have the same address {2}")]
    AddressTwice(MemberName, MemberName, SocketAddr),
    #[error("initial_primary = {0} is not among the members")]
    UnknownInitialPrimary(MemberName),
    #[error("sync.members names {0}, which is not among the members")]
    UnknownSyncMember(MemberName),
    #[error("initial_primary = {0} has control = \"sql\": a primary that cannot be fenced")]
    UnfencedPrimary(MemberName),
    #[error(
        "sync.k = {k} needs {k} standbys besides the primary, and {standbys} can be synchronous"
    )]
    TooFewStandbys { k: u32, standbys: usize },
    #[error("sync.k = 0 contradicts durability = \"{0}\": write durability = \"async\" to mean it")]
    NobodyAsked(Durability),
    #[error("suspect_after = {suspect_after_ms}ms is not below ttl = {ttl_ms}ms")]
    SuspectAfterTtl { suspect_after_ms: u64, ttl_ms: u64 },
    #[error("check_window = {check_window_ms}ms is not below ttl = {ttl_ms}ms")]
    CheckWindowAfterTtl { check_window_ms: u64, ttl_ms: u64 },
    #[error("check_window = {0}ms is above the greatest allowed, 1000ms")]
    CheckWindowTooLong(u64),
}

impl GroupSpec {
    #[must_use]
    pub fn member(&self, name: &MemberName) -> Option<&MemberSpec> {
        self.members.iter().find(|member| member.name == *name)
    }

    /// Whether `member` may be a synchronous standby.
    #[must_use]
    pub fn may_be_synchronous(&self, member: &MemberSpec) -> bool {
        member.control == Control::Process
            && (self.sync_members.is_empty() || self.sync_members.contains(&member.name))
    }

    /// Checks the relations between the values.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.validate_members()?;
        self.validate_sync()?;
        self.validate_times()
    }

    fn validate_members(&self) -> Result<(), SpecError> {
        for (i, member) in self.members.iter().enumerate() {
            let earlier = &self.members[..i];
            if earlier.iter().any(|other| other.name == member.name) {
                return Err(SpecError::MemberTwice(member.name.clone()));
            }
            if let Some(other) = earlier.iter().find(|other| other.address == member.address) {
                let (other, name) = (other.name.clone(), member.name.clone());
                return Err(SpecError::AddressTwice(other, name, member.address));
            }
        }
        match self.member(&self.initial_primary) {
            None => Err(SpecError::UnknownInitialPrimary(
                self.initial_primary.clone(),
            )),
            Some(member) if member.control == Control::Sql => {
                Err(SpecError::UnfencedPrimary(member.name.clone()))
            }
            Some(_) => Ok(()),
        }
    }

    fn validate_sync(&self) -> Result<(), SpecError> {
        if let Some(unknown) = self
            .sync_members
            .iter()
            .find(|name| self.member(name).is_none())
        {
            return Err(SpecError::UnknownSyncMember(unknown.clone()));
        }
        if self.durability == Durability::Async {
            return Ok(());
        }
        if self.sync_k == 0 {
            return Err(SpecError::NobodyAsked(self.durability));
        }
        let able = self
            .members
            .iter()
            .filter(|member| self.may_be_synchronous(member))
            .count();
        // Whoever is primary is not its own standby.
        let primary_counted = self
            .member(&self.initial_primary)
            .is_some_and(|member| self.may_be_synchronous(member));
        let standbys = able - usize::from(primary_counted);
        if (self.sync_k as usize) > standbys {
            return Err(SpecError::TooFewStandbys {
                k: self.sync_k,
                standbys,
            });
        }
        Ok(())
    }

    fn validate_times(&self) -> Result<(), SpecError> {
        let Self {
            ttl_ms,
            suspect_after_ms,
            check_window_ms,
            ..
        } = *self;
        if suspect_after_ms >= ttl_ms {
            return Err(SpecError::SuspectAfterTtl {
                suspect_after_ms,
                ttl_ms,
            });
        }
        if check_window_ms > 1000 {
            return Err(SpecError::CheckWindowTooLong(check_window_ms));
        }
        if check_window_ms >= ttl_ms {
            return Err(SpecError::CheckWindowAfterTtl {
                check_window_ms,
                ttl_ms,
            });
        }
        Ok(())
    }
}
