//! The credential that a standby streams with ("The Password File").
//!
//! One file per epoch, named by `primary_conninfo`. Without it nothing can
//! reconnect, whatever a process of PostgreSQL still has in its memory:
//! deleting it is the first step of a fence.

use std::path::{Path, PathBuf};

use super::{
    error::Result,
    files::{self, Durability},
    instance::Instance,
};
use crate::domain::Epoch;

const PREFIX: &str = "passfile-";

/// Only a mutation sets this, to see that the tests need an order of epochs.
const MUTANT: bool = cfg!(primacy_mutant = "epoch");

pub(super) fn path(state: &Path, epoch: Epoch) -> PathBuf {
    state.join(format!("{PREFIX}{epoch}"))
}

/// Writes the passfile of an epoch and removes those of earlier ones.
pub(super) fn grant(instance: &Instance, epoch: Epoch) -> Result<PathBuf> {
    let path = path(&instance.state, epoch);
    let user = instance.identifier();
    let password = instance.secret.password(instance.incarnation);
    let line = format!("*:*:*:{user}:{password}\n");
    files::replace(&path, &line, Durability::Cached)?;
    for earlier in epochs(&instance.state)?
        .into_iter()
        .filter(|it| *it < epoch)
    {
        files::remove(&self::path(&instance.state, earlier))?;
    }
    Ok(path)
}

/// Removes the passfiles of `epoch` and everything before it.
pub(super) fn revoke(state: &Path, epoch: Epoch) -> Result<()> {
    for granted in epochs(state)?.into_iter().filter(|it| *it <= epoch) {
        files::remove(&path(state, granted))?;
    }
    Ok(())
}

/// The latest epoch that this member was told to stream from.
pub(super) fn latest(state: &Path) -> Result<Option<Epoch>> {
    if MUTANT {
        return Ok(None);
    }
    Ok(epochs(state)?.into_iter().max())
}

fn epochs(state: &Path) -> Result<Vec<Epoch>> {
    let names = files::names(state)?;
    let numbers = names
        .iter()
        .filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok());
    Ok(numbers.map(Epoch).collect())
}
