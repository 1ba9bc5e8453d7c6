//! Check and Watch: what applications are told.

use std::sync::atomic::Ordering;

use primacy_proto::v1::{
    self as proto, cluster_client::ClusterClient, leases_client::LeasesClient, watch_response::Kind,
};
use tokio::time::timeout;
use tonic::{Code, Streaming};

use crate::scene::{
    LIMIT, Node, begin_failover, check, fence, grant_second, granted, node, sealed,
};

async fn watch(node: &Node, from: u64, groups: &[&str]) -> Streaming<proto::WatchResponse> {
    let groups = groups.iter().map(ToString::to_string).collect();
    let request = proto::WatchRequest {
        groups,
        from_revision: from,
    };
    let answer = LeasesClient::new(node.channel.clone()).watch(request).await;
    answer.expect("a watch").into_inner()
}

/// Everything until all up to `revision` was sent.
async fn until(stream: &mut Streaming<proto::WatchResponse>, revision: u64) -> Vec<proto::Event> {
    let mut events = Vec::new();
    let read = async {
        while let Some(response) = stream.message().await.expect("a message") {
            match response.kind {
                Some(Kind::Event(event)) => events.push(event),
                Some(Kind::CaughtUp(up_to)) if up_to >= revision => return,
                _ => {}
            }
        }
        panic!("the watch ended");
    };
    timeout(LIMIT, read).await.expect("caught up");
    events
}

#[tokio::test]
async fn only_a_sealed_epoch_has_a_primary() {
    let node = node().await;
    granted(&node.quorum);
    let unsealed = check(&node, "orders").await.expect("an answer");
    assert_eq!(unsealed.primary, None);
    assert!(
        unsealed.reason.contains("waits for its standbys"),
        "{}",
        unsealed.reason
    );
}

#[tokio::test]
async fn the_holder_of_record_is_answered_with_doubt_until_another_is_granted() {
    let node = node().await;
    sealed(&node.quorum);
    let sure = check(&node, "orders").await.expect("an answer");
    let primary = sure.primary.expect("a primary");
    assert_eq!(
        (primary.member.as_str(), primary.epoch, sure.reason.as_str()),
        ("paris", 1, "")
    );
    assert_eq!(primary.address, "10.0.0.0:5432");

    begin_failover(&node.quorum);
    let suspect = check(&node, "orders").await.expect("an answer");
    assert_eq!(suspect.primary.expect("still").member, "paris");
    assert!(suspect.reason.starts_with("suspect: ") && suspect.valid_for_ms == 0);

    grant_second(&node.quorum);
    let granted = check(&node, "orders").await.expect("an answer");
    assert_eq!(granted.primary, None);
    assert!(
        granted.reason.contains("tokyo was granted epoch 2"),
        "{}",
        granted.reason
    );
}

#[tokio::test]
async fn without_a_quorum_a_check_does_not_know() {
    let node = node().await;
    sealed(&node.quorum);
    node.quorum.lose_quorum();
    let lost = check(&node, "orders").await.expect_err("no quorum");
    assert_eq!(lost.code(), Code::Unavailable);
    assert!(
        lost.message().contains("does not know"),
        "{}",
        lost.message()
    );
}

#[tokio::test]
async fn a_watch_resumes_at_any_revision_without_gap_or_repetition() {
    let node = node().await;
    let last = sealed(&node.quorum);
    let all = until(&mut watch(&node, 1, &[]).await, last).await;
    assert!(all.is_sorted_by_key(|event| event.revision));
    assert!(
        all.windows(2).any(|two| two[0].revision == two[1].revision),
        "none shared"
    );
    for from in 2..=last {
        let resumed = until(&mut watch(&node, from, &[]).await, last).await;
        let expected: Vec<_> = all
            .iter()
            .filter(|it| it.revision >= from)
            .cloned()
            .collect();
        assert_eq!(resumed, expected, "from {from}");
    }
    assert_eq!(all.last().expect("an event").kind, "epoch_sealed");
}

#[tokio::test]
async fn a_watch_says_so_where_a_snapshot_left_a_hole_in_the_history() {
    let node = node().await;
    let last = sealed(&node.quorum);
    node.quorum.history_from.store(last, Ordering::SeqCst);
    let mut responses = watch(&node, 1, &[]).await;
    let ended = timeout(LIMIT, responses.message())
        .await
        .expect("an answer");
    assert_eq!(
        ended.expect_err("the hole was skipped").code(),
        Code::OutOfRange
    );
    until(&mut watch(&node, last, &[]).await, last).await;
}

#[tokio::test]
async fn no_revision_is_split_between_pages() {
    let node = node().await;
    let sizes = (0..300).map(|it| it % 4).chain([600, 1, 512, 2]);
    let mut expected = Vec::new();
    let mut last = 0;
    for size in sizes {
        let revision = node.quorum.incidents("orders", size);
        expected.extend((0..size).map(|number| format!("{revision} {number}.")));
        last = if size > 0 { revision } else { last };
    }
    let events = until(&mut watch(&node, 1, &[]).await, last).await;
    let texts: Vec<_> = events.into_iter().map(|event| event.text).collect();
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn a_live_watch_begins_with_the_primaries_and_waits_for_a_slow_history() {
    let node = node().await;
    sealed(&node.quorum);
    let mut stream = watch(&node, 0, &["orders"]).await;
    let first = stream
        .message()
        .await
        .expect("a message")
        .expect("a message");
    let Some(Kind::Current(current)) = first.kind else {
        panic!("{first:?}")
    };
    assert_eq!(current.primary.expect("a primary").member, "paris");

    node.quorum.slow_history.store(true, Ordering::SeqCst);
    begin_failover(&node.quorum);
    node.quorum.incidents("invoices", 2);
    let last = fence(&node.quorum, "tokyo");
    timeout(LIMIT, node.quorum.looked_at())
        .await
        .expect("looks again");
    node.quorum.history_catches_up();
    let events = until(&mut stream, last).await;
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["failover_began", "member_fenced"]);
}

#[tokio::test]
async fn a_revision_that_is_no_longer_kept_is_refused() {
    let node = node().await;
    for _ in 0..1_100 {
        node.quorum.incidents("orders", 1);
    }
    let request = proto::WatchRequest {
        groups: Vec::new(),
        from_revision: 50,
    };
    let refused = LeasesClient::new(node.channel.clone()).watch(request).await;
    assert_eq!(refused.expect_err("refused").code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_page_of_events_is_the_newest_or_the_oldest_of_a_group() {
    let node = node().await;
    for _ in 0..200 {
        node.quorum.incidents("orders", 1);
        node.quorum.incidents("invoices", 1);
    }
    let page = |newest, from_revision| {
        let group = "orders".to_owned();
        let request = proto::EventsRequest {
            group,
            from_revision,
            limit: 3,
            newest,
        };
        let mut client = ClusterClient::new(node.channel.clone());
        async move {
            let events = client
                .events(request)
                .await
                .expect("a page")
                .into_inner()
                .events;
            events
                .into_iter()
                .map(|event| event.revision)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(page(false, 0).await, [1, 3, 5]);
    assert_eq!(page(false, 10).await, [11, 13, 15]);
    assert_eq!(page(true, 0).await, [395, 397, 399]);
    assert_eq!(page(true, 398).await, [399]);
}

#[tokio::test]
async fn a_watch_ends_where_no_quorum_confirms_that_there_is_no_news() {
    let node = node().await;
    let last = sealed(&node.quorum);
    let mut stream = watch(&node, 1, &[]).await;
    until(&mut stream, last).await;
    node.quorum.lose_quorum();
    let ended = timeout(LIMIT, stream.message()).await.expect("an end");
    assert_eq!(ended.expect_err("the reason").code(), Code::Unavailable);
}
