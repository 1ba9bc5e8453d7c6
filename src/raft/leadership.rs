//! Who leads, as this node sees it.
//!
//! Sight, not proof: a leader that was cut off goes on believing in itself.
//! Whoever acts on leadership confirms it with a read index first.

use openraft::{ServerState, async_runtime::WatchReceiver, errors::Fatal};
use tokio::sync::watch;

use super::{
    fail_stop::fail_stop,
    types::{Consensus, LogId},
};
use crate::ports::{Leadership, NodeId};

/// Follows the leadership of `raft` until it stops.
pub(crate) fn follow(
    raft: &Consensus,
    me: NodeId,
    mut applied: watch::Receiver<Option<LogId>>,
) -> watch::Receiver<Leadership> {
    let (seen, leadership) = watch::channel(Leadership::default());
    let (mut server, mut all) = (raft.server_metrics(), raft.metrics());
    tokio::spawn(async move {
        loop {
            let now = {
                let server = server.borrow_watched();
                let vote = &server.vote;
                let is_me =
                    server.state == ServerState::Leader && server.current_leader == Some(me);
                let term = vote.leader_id.term;
                let applied = applied.borrow_and_update();
                // A term has one leader, so an entry of the term is its own.
                let ready = is_me && applied.as_ref().is_some_and(|id| id.leader_id.term == term);
                Leadership {
                    leader: server.current_leader,
                    is_me,
                    term,
                    ready,
                }
            };
            seen.send_if_modified(|before| std::mem::replace(before, now) != now);
            tokio::select! {
                changed = server.changed() => if changed.is_err() { break },
                changed = applied.changed() => if changed.is_err() { break },
                changed = all.changed() => {
                    let running = all.borrow_watched().running_state.clone();
                    match running {
                        Ok(()) if changed.is_ok() => {}
                        Ok(()) | Err(Fatal::Stopped) => break,
                        // Half a node would answer reads and never vote.
                        Err(error) => fail_stop("running consensus", &error),
                    }
                }
            }
        }
        let term = seen.borrow().term;
        seen.send_replace(Leadership {
            term,
            ..Leadership::default()
        });
    });
    leadership
}
