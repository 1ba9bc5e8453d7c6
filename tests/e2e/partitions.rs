//! Packets are lost; everybody lives on and believes what it last heard.
//!
//! Each region is a network namespace. The test, its clients and its fleet's
//! books are in one of their own, beside the regions.

use std::{net::Ipv4Addr, time::Duration};

use primacy::demo::fleet::{Network, inside};
use primacy_proto::v1::Group;
use tokio::{runtime, time};

use crate::{
    losses::{assert_all_there, wait},
    scene::Scene,
    stubborn::Stubborn,
};

/// Of quorum nodes, for agents and clients.
const GRPC: u16 = 7400;

/// Runs a test beside regions that can be cut off; without the means for it
/// nothing is tested, and that is said.
fn apart<F: Future<Output = ()>>(number: u8, test: impl FnOnce(Cut) -> F + Send) {
    if let Some(reason) = Network::missing() {
        eprintln!("skipped: {reason}");
        return;
    }
    let base = Ipv4Addr::new(10, 77, number, 0);
    let network = Network::new(base, 3).unwrap();
    let clients = network.clients();
    let run = || {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let namespaces = (0..3).map(|index| network.region(index)).collect();
            let change = |options: &mut primacy::demo::fleet::Options| {
                options.base = base;
                options.namespaces = namespaces;
            };
            let scene = Scene::start_with(number, change).await;
            test(Cut { scene, network }).await;
        });
    };
    inside(&clients, run).unwrap();
}

struct Cut {
    scene: Scene,
    // Dropped last: the fleet's processes are in it.
    network: Network,
}

impl Cut {
    /// Raft leads from elsewhere than the primary; returns both.
    async fn lead_elsewhere(&self) -> (Group, usize) {
        let primary = self.scene.primary().await;
        self.scene.lead_from((primary + 1) % 3).await;
        (self.scene.whole().await, primary)
    }

    /// The connection is healed, and all is as it should be.
    async fn heal(self, epoch: u32) {
        self.network.heal().unwrap();
        let whole = self.scene.whole().await;
        assert_eq!(whole.epoch, epoch, "healing took another epoch");
        self.scene.end().await;
    }
}

#[test]
fn a_region_that_falls_silent_is_survived_and_its_primary_follows_after() {
    apart(60, async |cut| {
        let (before, primary) = cut.lead_elsewhere().await;
        cut.network.cut_off(primary).unwrap();
        let after = cut.scene.epoch_after(before.epoch).await;
        assert_ne!(after.holder, before.holder);
        cut.scene.writes().await;
        cut.heal(after.epoch).await;
    });
}

#[test]
fn a_region_that_falls_silent_with_the_raft_leader_is_survived() {
    apart(61, async |cut| {
        let primary = cut.scene.primary().await;
        cut.scene.lead_from(primary).await;
        let before = cut.scene.whole().await;
        cut.network.cut_off(primary).unwrap();
        let after = cut.scene.epoch_after(before.epoch).await;
        assert_ne!(after.holder, before.holder);
        cut.scene.writes().await;
        cut.heal(after.epoch).await;
    });
}

/// A client in the primary's own region never loses its connection. After
/// the fence nothing is acknowledged to it, and it is the database that sees
/// to that.
#[test]
fn a_primary_that_is_cut_off_acknowledges_nothing_after_the_fence() {
    apart(62, async |cut| {
        let (before, primary) = cut.lead_elsewhere().await;
        let address = cut.scene.fleet.places()[primary].postgres();
        let stubborn = inside(&cut.network.region(primary), || {
            Stubborn::apart(address, cut.scene.fleet.password())
        });
        let stubborn = stubborn.unwrap();
        wait(|| stubborn.count() > 20).await;
        cut.network.cut_off(primary).unwrap();
        let after = cut.scene.epoch_after(before.epoch).await;
        assert_ne!(after.holder, before.holder);
        let at_fence = stubborn.count();
        time::sleep(Duration::from_secs(3)).await;
        assert_eq!(stubborn.count(), at_fence, "acknowledged after the fence");
        cut.scene.writes().await;
        cut.network.heal().unwrap();
        let whole = cut.scene.whole().await;
        assert_eq!(whole.epoch, after.epoch);
        assert_eq!(stubborn.count(), at_fence, "acknowledged after healing");
        assert_all_there(&cut.scene, &stubborn.stop()).await;
        cut.scene.end().await;
    });
}

/// The primary hears everybody, and nobody hears it.
#[test]
fn a_primary_that_nobody_hears_is_replaced() {
    apart(63, async |cut| {
        let (before, primary) = cut.lead_elsewhere().await;
        cut.network.mute(primary).unwrap();
        let after = cut.scene.epoch_after(before.epoch).await;
        assert_ne!(after.holder, before.holder);
        cut.scene.writes().await;
        cut.heal(after.epoch).await;
    });
}

/// Only the primary's agent is not heard: its standbys still receive, so there
/// is no haste. Once the lease has run out there is.
#[test]
fn while_its_standbys_receive_a_primary_is_left_alone_until_its_lease_ends() {
    apart(64, async |cut| {
        let (before, primary) = cut.lead_elsewhere().await;
        let ttl = cut.scene.fleet.options().ttl;
        cut.network.shut_port(primary, GRPC).unwrap();
        time::sleep(ttl * 6 / 10).await;
        let still = cut.scene.group().await;
        assert_eq!((still.epoch, still.sealed), (before.epoch, true));
        cut.scene.writes().await;
        let after = cut.scene.epoch_after(before.epoch).await;
        assert_ne!(after.holder, before.holder);
        let events = cut.scene.events().await;
        assert!(events.iter().any(|event| event.kind == "lease_expired"));
        cut.scene.writes().await;
        cut.heal(after.epoch).await;
    });
}

/// A node that was away asks for votes; the others hear their leader and give none.
#[test]
fn a_node_that_returns_deposes_nobody() {
    apart(65, async |cut| {
        let (before, primary) = cut.lead_elsewhere().await;
        let away = (0..3)
            .find(|index| *index != primary && *index != (primary + 1) % 3)
            .unwrap();
        let leader = cut.scene.api.leader().await.unwrap();
        cut.network.cut_off(away).unwrap();
        time::sleep(Duration::from_secs(5)).await;
        cut.scene.writes().await;
        cut.network.heal().unwrap();
        cut.scene.whole().await;
        time::sleep(Duration::from_secs(2)).await;
        assert_eq!(cut.scene.api.leader().await.unwrap(), leader);
        cut.heal(before.epoch).await;
    });
}
