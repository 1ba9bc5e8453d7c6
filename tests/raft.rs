//! Three nodes under the faults that consensus is there for.
#![allow(clippy::unwrap_used)]

#[path = "raft/harness.rs"]
mod harness;

use std::time::Duration;

use harness::{CLUSTER, Cluster, eventually, sample_command, sample_expiry, sample_group};
use primacy::domain::{Outcome, Refusal};
use primacy::ports::Quorum as _;
use primacy::raft::{
    MembersError, Options, Profile, ProposeError, StartError, TransferError, start,
};
use primacy_proto::v1::{RaftMessage, ReadIndexRequest, raft_client::RaftClient};
use tonic::Code;

fn defaults(_: &mut Options) {}

/// Deadlines that a test waits out.
fn impatient(options: &mut Options) {
    options.read_timeout = Duration::from_millis(800);
    options.propose_timeout = Duration::from_millis(800);
    options.transfer_timeout = Duration::from_millis(800);
}

fn small_snapshots(options: &mut Options) {
    options.snapshot_every = 50;
    options.kept_behind = 10;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_takes_proposals() {
    let cluster = Cluster::start(3, defaults).await;
    let mut acknowledged = Vec::new();
    for id in 1..=3 {
        acknowledged.extend(cluster.propose(id, id * 100..id * 100 + 10).await);
    }
    for id in 1..=3 {
        cluster.has_all(id, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commands_survive_the_leader() {
    let mut cluster = Cluster::start(3, defaults).await;
    let follower = cluster.follower().await;
    let mut acknowledged = cluster.propose(follower, 0..50).await;
    let old = cluster.leader().await;
    cluster.kill(old).await;
    cluster.leader().await;
    acknowledged.extend(cluster.propose(follower, 50..100).await);
    assert_ne!(cluster.leader().await, old);
    cluster.start_node(old).await;
    for id in 1..=3 {
        cluster.has_all(id, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_proposals_at_once_are_all_applied_where_they_were_acknowledged() {
    let cluster = Cluster::start(3, defaults).await;
    cluster.leader().await;
    let proposals: Vec<_> = (0..300)
        .map(|n| {
            let handle = cluster.handle(n % 3 + 1).clone();
            tokio::spawn(async move { handle.propose(sample_command(n)).await })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for (n, proposal) in (0..).zip(proposals) {
        acknowledged.push((proposal.await.unwrap().unwrap().0, sample_command(n)));
    }
    for id in 1..=3 {
        cluster.has_all(id, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_stopped_comes_back_as_it_was() {
    let mut cluster = Cluster::start(3, defaults).await;
    let acknowledged = cluster.propose(1, 0..30).await;
    let last = acknowledged.last().unwrap().0;
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    for id in 1..=3 {
        cluster.start_node(id).await;
    }
    for id in 1..=3 {
        assert!(cluster.read_index(id).await > last);
        cluster.has_all(id, &acknowledged).await;
    }
    assert_eq!(cluster.state(1), cluster.state(2));
    assert_eq!(cluster.state(1), cluster.state(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_lags_behind_the_log_gets_a_snapshot() {
    let mut cluster = Cluster::start(3, small_snapshots).await;
    let lagging = cluster.follower().await;
    let before = cluster.propose(lagging, 0..5).await;
    cluster.kill(lagging).await;
    let leader = cluster.leader().await;
    let acknowledged = cluster.propose(leader, 100..300).await;
    // Purging goes along with other work, so there has to be some.
    eventually("the log is purged past what the follower has", || async {
        cluster.propose(leader, 300..301).await;
        cluster.handle(leader).status().purged > before.last().map(|(index, _)| *index)
    })
    .await;
    cluster.start_node(lagging).await;
    let last = acknowledged.last().unwrap().0;
    eventually("the follower has caught up", || async {
        cluster.handle(lagging).status().applied >= Some(last)
    })
    .await;
    assert!(cluster.handle(lagging).status().snapshot.is_some());
    assert_eq!(cluster.state(lagging), cluster.state(leader));
    // And what was installed is enough to start from.
    cluster.kill(lagging).await;
    cluster.start_node(lagging).await;
    cluster.read_index(lagging).await;
    assert_eq!(cluster.state(lagging), cluster.state(leader));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_a_follower_sees_what_was_acknowledged_before() {
    let cluster = Cluster::start(3, defaults).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    for n in 0..50 {
        let acknowledged = cluster.propose(leader, n..n + 1).await;
        let index = acknowledged[0].0;
        let read = cluster.read_index(follower).await;
        assert!(
            read >= index,
            "read index {read} is before the command at {index}"
        );
        let published = cluster.state(follower);
        assert!(
            published.group(&sample_group(n)).is_some(),
            "{n} is not published"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_confirmed_and_nothing_is_acknowledged() {
    let mut cluster = Cluster::start(3, impatient).await;
    let leader = cluster.leader().await;
    cluster.propose(leader, 0..5).await;
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.kill(id).await;
    }
    let left = cluster.handle(leader);
    assert!(left.read_index().await.is_err());
    let refused = left.propose(sample_command(9)).await;
    assert!(
        matches!(refused, Err(ProposeError::NoQuorum | ProposeError::Unknown)),
        "{refused:?}"
    );
    assert!(left.read_index().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_confirms_nothing_while_the_others_go_on() {
    let cluster = Cluster::start(3, impatient).await;
    let old = cluster.leader().await;
    cluster.propose(old, 0..5).await;
    cluster.cut_off(old);
    let others: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    let unheard = cluster.handle(old).propose(sample_command(1_000)).await;
    assert!(unheard.is_err(), "{unheard:?}");
    assert!(cluster.handle(old).read_index().await.is_err());
    let new = cluster.leader_of(&others).await;
    assert_ne!(new, old);
    let acknowledged = cluster.propose(new, 100..120).await;
    cluster.heal(old);
    cluster.has_all(old, &acknowledged).await;
    cluster.leader().await;
    assert_eq!(cluster.applied(old).await, cluster.applied(new).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_is_not_dialled_without_pause() {
    let mut cluster = Cluster::start(3, defaults).await;
    let leader = cluster.leader().await;
    let gone = cluster.follower().await;
    cluster.kill(gone).await;
    // Something that it ought to have.
    cluster.propose(leader, 0..5).await;
    let before = cluster.dialled(leader, gone);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Heartbeats, and entries after ever longer pauses; thousands without any.
    let dialled = cluster.dialled(leader, gone) - before;
    assert!(dialled < 100, "dialled {dialled} times in a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_does_not_depose_the_leader() {
    let cluster = Cluster::start(3, impatient).await;
    let leader = cluster.leader().await;
    let before = cluster.seen(leader);
    let away = cluster.follower().await;
    cluster.cut_off(away);
    // Several election timeouts, each of which it spends on asking for votes.
    for _ in 0..4 {
        assert!(cluster.handle(away).read_index().await.is_err());
    }
    let acknowledged = cluster.propose(leader, 0..5).await;
    cluster.heal(away);
    cluster.has_all(away, &acknowledged).await;
    cluster.read_index(away).await;
    for id in 1..=3 {
        let now = cluster.seen(id);
        assert_eq!(
            (now.leader, now.term),
            (before.leader, before.term),
            "at node {id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_store_that_is_lost_or_broken_is_rebuilt() {
    let mut cluster = Cluster::start(3, defaults).await;
    let acknowledged = cluster.propose(1, 0..20).await;
    let state = |id: u64, cluster: &Cluster| cluster.dir(id).join("state");
    for id in [1, 2] {
        cluster.has_all(id, &acknowledged).await;
        cluster.kill(id).await;
    }
    std::fs::remove_dir_all(state(1, &cluster)).unwrap();
    for entry in std::fs::read_dir(state(2, &cluster)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(path, [0xff; 4096]).unwrap();
        }
    }
    for id in [1, 2] {
        cluster.start_node(id).await;
    }
    for id in [1, 2] {
        cluster.read_index(id).await;
        cluster.has_all(id, &acknowledged).await;
    }
    assert_eq!(cluster.state(1), cluster.state(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_where_it_is_sent() {
    let cluster = Cluster::start(3, defaults).await;
    let (old, to) = (cluster.leader().await, cluster.follower().await);
    cluster.handle(old).transfer_leader(to).await.unwrap();
    assert_eq!(cluster.leader().await, to);
    cluster.propose(old, 0..5).await;
}

/// A watcher that resumes asks for exactly this.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_change_leaves_no_gap_in_the_history() {
    let mut cluster = Cluster::start(3, defaults).await;
    let before = cluster.propose(1, 0..5).await;
    let (old, to) = (cluster.leader().await, cluster.follower().await);
    cluster.handle(old).transfer_leader(to).await.unwrap();
    assert_eq!(cluster.leader().await, to);
    let after = cluster.propose(to, 5..10).await;
    let (first, last) = (before[0].0, after.last().unwrap().0);
    for id in 1..=3 {
        cluster.has_all(id, &after).await;
        assert!(cluster.handle(id).has_history(first, last), "node {id}");
    }
    // And none in what was kept of it.
    cluster.kill(old).await;
    cluster.start_node(old).await;
    let more = cluster.propose(to, 10..12).await;
    cluster.has_all(old, &more).await;
    assert!(cluster.handle(old).has_history(first, more[1].0));
}

/// A leader that was stopped for long decides on what it knew before.
#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_decided_before_a_deposition_is_not_applied_after_it() {
    let cluster = Cluster::start(3, impatient).await;
    cluster.propose(1, 0..1).await;
    let expiry = |node: u64, term: u64| {
        let handle = cluster.handle(node).clone();
        async move { handle.propose_in(term, sample_expiry(0)).await }
    };
    let (old, to) = (cluster.leader().await, cluster.follower().await);
    let term = cluster.seen(old).term;
    let (_, outcome) = expiry(old, term).await.unwrap();
    let refusal = outcome.into_result().unwrap_err();
    assert_ne!(refusal, Refusal::OfficeLost, "in office it is considered");
    cluster.handle(old).transfer_leader(to).await.unwrap();
    assert_eq!(cluster.leader().await, to);
    // It follows now, and nobody else is told.
    let before = cluster.read_index(old).await;
    let at_follower = expiry(old, term).await;
    assert_eq!(
        at_follower,
        Err(ProposeError::NotLeader { leader: Some(to) })
    );
    assert_eq!(cluster.read_index(old).await, before);
    // It leads again, in a later term.
    cluster.handle(to).transfer_leader(old).await.unwrap();
    assert_eq!(cluster.leader().await, old);
    let (index, outcome) = expiry(old, term).await.unwrap();
    assert_eq!(outcome, Outcome::Refused(Refusal::OfficeLost));
    for id in 1..=3 {
        eventually("it is refused at every node", || async {
            let rows = cluster.handle(id).history(index, 1).await.unwrap();
            rows.iter()
                .any(|row| row.index == index && row.outcome == outcome)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_not_sent_to_a_node_that_is_gone() {
    let mut cluster = Cluster::start(3, impatient).await;
    let (leader, gone) = (cluster.leader().await, cluster.follower().await);
    let before = cluster.seen(leader);
    cluster.kill(gone).await;
    eventually("the leader misses the follower", || async {
        let refused = cluster.handle(leader).transfer_leader(gone).await;
        matches!(
            refused,
            Err(TransferError::Unreachable { .. } | TransferError::Lagging { .. })
        )
    })
    .await;
    assert_eq!(cluster.seen(leader), before);
    cluster.propose(leader, 0..5).await;
    let stranger = cluster.handle(leader).transfer_leader(9).await;
    assert_eq!(stranger, Err(TransferError::NotAVoter { to: 9 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_leaves_a_leader_behind() {
    let mut cluster = Cluster::start(3, |options| options.profile = Profile::Wan).await;
    let old = cluster.leader().await;
    let acknowledged = cluster.propose(old, 0..10).await;
    let successors: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    let mut watched = cluster.handle(successors[0]).leadership();
    cluster.shut_down(old).await;
    // Had it only vanished, nobody would ask for votes for two election
    // timeouts at least.
    let handed_over = watched.wait_for(|seen| seen.leader.is_some_and(|id| id != old));
    let limit = Profile::Wan.timing().election_max;
    let seen = tokio::time::timeout(limit, handed_over).await;
    assert!(seen.is_ok(), "nobody leads");
    for id in successors {
        cluster.has_all(id, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_for_another_cluster_or_node_are_refused() {
    let cluster = Cluster::start(1, defaults).await;
    cluster.leader().await;
    let address = format!("http://{}", cluster.node(1).address);
    let mut client = RaftClient::connect(address).await.unwrap();
    for (name, to) in [("other", 1), (CLUSTER, 2)] {
        let cluster_id = name.to_owned();
        let message = RaftMessage {
            cluster_id: cluster_id.clone(),
            to,
            from: 7,
            payload: vec![],
        };
        let refused = [
            client.append(message.clone()).await.unwrap_err(),
            client.vote(message.clone()).await.unwrap_err(),
            client.pre_vote(message.clone()).await.unwrap_err(),
            client.transfer_leader(message.clone()).await.unwrap_err(),
            client.propose(message.clone()).await.unwrap_err(),
            client
                .snapshot(futures::stream::iter([message]))
                .await
                .unwrap_err(),
            client
                .read_index(ReadIndexRequest {
                    cluster_id,
                    to,
                    from: 7,
                })
                .await
                .unwrap_err(),
        ];
        for status in refused {
            assert_eq!(status.code(), Code::PermissionDenied, "{status}");
            assert!(
                status
                    .message()
                    .contains("this is node 1 of cluster \"test\""),
                "{status}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused_the_directory() {
    let cluster = Cluster::start(1, defaults).await;
    let refused = start(cluster.options(1)).await;
    assert!(matches!(refused, Err(StartError::DataDir(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_company_leads_itself() {
    let mut cluster = Cluster::start(1, small_snapshots).await;
    cluster.leader().await;
    let acknowledged = cluster.propose(1, 0..120).await;
    cluster.kill(1).await;
    cluster.start_node(1).await;
    let read = cluster.read_index(1).await;
    assert!(read > acknowledged.last().unwrap().0);
    cluster.has_all(1, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_added_votes_and_one_that_is_removed_does_not() {
    let mut cluster = Cluster::start_some(4, 3, defaults).await;
    let (leader, removed) = (cluster.leader().await, cluster.follower().await);
    let acknowledged = cluster.propose(leader, 0..10).await;
    cluster.start_node(4).await;
    let new = cluster.node(4).clone();
    cluster.handle(leader).add_node(new.clone()).await.unwrap();
    cluster.has_all(4, &acknowledged).await;
    let mut elsewhere = new;
    elsewhere.address = "192.0.2.9:7401".to_owned();
    let taken = cluster.handle(leader).add_node(elsewhere).await;
    assert!(matches!(taken, Err(MembersError::Taken { id: 4, .. })));
    cluster.handle(leader).remove_node(removed).await.unwrap();
    cluster.kill(removed).await;
    let voters = cluster.handle(leader).status().voters;
    let mut ids: Vec<u64> = voters.iter().map(|node| node.id).collect();
    ids.sort_unstable();
    assert!(ids.contains(&4) && !ids.contains(&removed), "{ids:?}");
    // With the removed one gone, two of three still decide.
    let other = ids
        .into_iter()
        .find(|id| ![4, leader].contains(id))
        .unwrap();
    cluster.kill(other).await;
    cluster.propose(4, 10..20).await;
}
