//! `synchronous_standby_names`, and when it is known to be in force.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    error::{Result, within},
    server::LocalPostgres,
    settings,
};
use crate::domain::Incarnation;

/// A name that nobody bears: whoever commits waits, for good.
const SENTINEL: &str = "primacy_none";

/// Only a mutation sets this, to see that the tests need the sentinel.
pub(super) const MUTANT: bool = cfg!(primacy_mutant = "sentinel");

/// Whose acknowledgement a commit waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncNames {
    /// Not configured yet: commits wait until it is. What every standby has,
    /// so that the first commit after its promotion waits: whether one does
    /// is a flag that the checkpointer sets late, but never takes back from a
    /// list that was never empty.
    Nobody,
    /// Any `k` of the members.
    Any { k: u32, members: Vec<Incarnation> },
    /// Commits wait for nobody: asynchronous replication.
    Off,
}

impl fmt::Display for SyncNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody if MUTANT => Ok(()),
            Self::Nobody => write!(f, "ANY 1 ({SENTINEL})"),
            Self::Off => Ok(()),
            Self::Any { k, members } => {
                let names = members
                    .iter()
                    .map(|it| format!("\"{}\"", it.postgres_identifier()));
                write!(f, "ANY {k} ({})", names.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl LocalPostgres {
    /// Puts a sync configuration in force on a primary. From asynchronous
    /// replication the way leads through [`SyncNames::Nobody`], until a
    /// session is seen to wait.
    ///
    /// That commits are acknowledged under it is shown by
    /// [`barrier`](Self::barrier) alone.
    ///
    /// # Errors
    /// [`Error::NotInForce`](super::Error::NotInForce) when PostgreSQL keeps
    /// another value.
    pub async fn set_sync(&self, names: &SyncNames, budget: Duration) -> Result<()> {
        within("change of the sync set", budget, async {
            let off = self.probe().await?.sync_names.is_empty();
            if off && *names != SyncNames::Off && !MUTANT {
                self.write_sync(&SyncNames::Nobody, budget).await?;
                self.prove_waiting().await?;
            }
            self.write_sync(names, budget).await
        })
        .await
    }

    async fn write_sync(&self, names: &SyncNames, budget: Duration) -> Result<()> {
        self.for_barrier.lock().await.take();
        settings::write_sync(&self.instance, names)?;
        let wanted = [("synchronous_standby_names", names.to_string())];
        let session = self.reload_within(&wanted, budget).await?;
        self.keep_for_barrier(names, session).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_never_empty_unless_asynchronous() {
        let one = Incarnation(uuid::Uuid::from_u128(1));
        let any = SyncNames::Any {
            k: 1,
            members: vec![one],
        };
        assert_eq!(
            any.to_string(),
            "ANY 1 (\"primacy_00000000000000000000000000000001\")"
        );
        assert_eq!(SyncNames::Nobody.to_string(), "ANY 1 (primacy_none)");
        assert_eq!(SyncNames::Off.to_string(), "");
    }
}
