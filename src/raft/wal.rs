//! How votes and entries look in the write-ahead log.

use std::{cmp::Ordering, io};

use openraft::{
    storage::IOFlushed,
    vote::leader_id_std::{CommittedLeaderId, LeaderId},
};
use raft_log::codeq::{Decode, Encode};
use tokio::sync::oneshot;

use super::{
    fail_stop::fail_stop,
    types::{LogId, TypeConfig, Vote},
};

/// Marker for the log's type parameters.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct WalTypes;

impl raft_log::Types for WalTypes {
    type LogId = WalLogId;
    /// An entry's payload in JSON.
    type LogPayload = Vec<u8>;
    type Vote = WalVote;
    type Callback = Flushed;
    type UserData = String;

    fn log_index(log_id: &WalLogId) -> u64 {
        log_id.index
    }

    fn payload_size(payload: &Vec<u8>) -> u64 {
        payload.len() as u64
    }
}

/// Ordered as consensus orders log ids: field by field, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WalLogId {
    term: u64,
    pub(crate) index: u64,
}

impl From<&LogId> for WalLogId {
    fn from(id: &LogId) -> Self {
        Self {
            term: id.leader_id.term,
            index: id.index,
        }
    }
}

impl From<&WalLogId> for LogId {
    fn from(id: &WalLogId) -> Self {
        LogId {
            leader_id: CommittedLeaderId::from(id.term),
            index: id.index,
        }
    }
}

impl Encode for WalLogId {
    fn encode<W: io::Write>(&self, mut w: W) -> io::Result<usize> {
        Ok(self.term.encode(&mut w)? + self.index.encode(&mut w)?)
    }
}

impl Decode for WalLogId {
    fn decode<R: io::Read>(mut r: R) -> io::Result<Self> {
        Ok(Self {
            term: u64::decode(&mut r)?,
            index: u64::decode(&mut r)?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalVote {
    term: u64,
    node: u64,
    committed: bool,
}

/// As consensus orders votes: two candidacies of one term do not compare, and
/// an election won is above both.
impl PartialOrd for WalVote {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Vote::from(self).partial_cmp(&Vote::from(other))
    }
}

impl From<&Vote> for WalVote {
    fn from(vote: &Vote) -> Self {
        let leader = &vote.leader_id;
        Self {
            term: leader.term,
            node: leader.voted_for,
            committed: vote.committed,
        }
    }
}

impl From<&WalVote> for Vote {
    fn from(vote: &WalVote) -> Self {
        let leader_id = LeaderId {
            term: vote.term,
            voted_for: vote.node,
        };
        Vote {
            leader_id,
            committed: vote.committed,
        }
    }
}

impl Encode for WalVote {
    fn encode<W: io::Write>(&self, mut w: W) -> io::Result<usize> {
        Ok(
            self.term.encode(&mut w)?
                + self.node.encode(&mut w)?
                + self.committed.encode(&mut w)?,
        )
    }
}

impl Decode for WalVote {
    fn decode<R: io::Read>(mut r: R) -> io::Result<Self> {
        let (term, node) = (u64::decode(&mut r)?, u64::decode(&mut r)?);
        Ok(Self {
            term,
            node,
            committed: bool::decode(&mut r)?,
        })
    }
}

/// Told when everything written so far is on the disk.
///
/// Dropping it untold ends the process: the log's writer thread died, so
/// nothing would ever be durable again, and nobody would hear of it.
pub(crate) struct Flushed(Option<Waiter>);

enum Waiter {
    Append(IOFlushed<TypeConfig>),
    Vote(oneshot::Sender<()>),
}

impl Flushed {
    pub(crate) fn append(done: IOFlushed<TypeConfig>) -> Self {
        Self(Some(Waiter::Append(done)))
    }

    pub(crate) fn vote() -> (Self, oneshot::Receiver<()>) {
        let (done, saved) = oneshot::channel();
        (Self(Some(Waiter::Vote(done))), saved)
    }
}

impl raft_log::Callback for Flushed {
    fn send(mut self, result: io::Result<()>) {
        if let Err(error) = result {
            fail_stop("writing the Raft log", &error);
        }
        match self.0.take() {
            Some(Waiter::Append(done)) => done.io_completed(Ok(())),
            // Consensus gave up waiting; the vote is durable all the same.
            Some(Waiter::Vote(done)) => drop(done.send(())),
            None => {}
        }
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        if self.0.is_some() {
            fail_stop("writing the Raft log", &"its writer thread is gone");
        }
    }
}
