//! What leaders may get through, whether it is wise or not.

use crate::domain::{Barrier, Cause, Change, Epoch, OnRecord, Position, rule::Rule};

use super::{
    actions::{Action, Successors},
    fixture::Inc,
    invariants,
    member::Member,
    scene::Node,
    world::{Facts, Proposal, World},
};

impl<const N: usize> Successors<'_, N> {
    pub(super) fn propose(
        &mut self,
        node: &Node<N>,
        action: Action,
        by: Inc,
        number: u32,
        change: impl FnOnce(&World) -> Change,
    ) {
        let kind = action.number();
        let key = Proposal { kind, by, number };
        let Some(group) = self.world.apply(node.group, key, change) else {
            return;
        };
        let (before, after) = (self.world.group(node.group), self.world.group(group));
        if let Some(violation) = invariants::epoch_reused(before, after) {
            self.out.push((action, Err(violation)));
            return;
        }
        let mut next = Node { group, ..*node };
        if let Action::ProposeSync(_) = action {
            next.used.sync_changes += 1;
        }
        if self.no_longer_waits(node, action) {
            next.protected = 0;
        }
        self.push(action, node, next);
    }

    /// Whether the group says from here on that writes may be lost: its
    /// primary works under a configuration that asks nobody.
    fn no_longer_waits(&self, node: &Node<N>, action: Action) -> bool {
        let (Action::ConfirmSync(revision) | Action::SealEpoch(revision)) = action else {
            return false;
        };
        let group = self.world.group(node.group);
        let confirmed = |e: &&OnRecord| e.epoch == group.epoch && e.revision == revision;
        group
            .record
            .iter()
            .find(confirmed)
            .is_some_and(|e| e.config.is_asynchronous())
    }

    pub(super) fn commands(&mut self, node: &Node<N>) {
        let Facts {
            epoch,
            holder,
            failing_over,
            ..
        } = self.world.facts(node.group);
        if failing_over {
            self.record_fences(node, epoch);
            self.grants(node, epoch);
            return;
        }
        if epoch.0 < self.scene.epochs {
            self.begin_failover(node, epoch, holder, false);
            if self.scene.switchover {
                self.begin_failover(node, epoch, holder, true);
            }
        }
        self.record_promotion(node, epoch);
        self.sync_changes(node);
        self.barriers(node, epoch, holder);
    }

    fn begin_failover(&mut self, node: &Node<N>, epoch: Epoch, holder: Inc, planned: bool) {
        let cause = if planned {
            Cause::Switchover
        } else {
            Cause::Silence
        };
        let change = |_: &World| Change::BeginFailover {
            epoch,
            cause,
            silence_ms: 0,
            prefer: None,
        };
        self.propose(
            node,
            Action::BeginFailover { planned },
            holder,
            planned.into(),
            change,
        );
    }

    fn record_fences(&mut self, node: &Node<N>, epoch: Epoch) {
        for member in &node.members {
            let Some(fenced) = member.fenced.filter(|fenced| fenced.epoch >= epoch) else {
                continue;
            };
            let (inc, position) = (member.inc, fenced.position);
            let number = position.map_or(0, |at| 1 + number_of(at));
            let incarnation = inc.id();
            self.propose(node, Action::RecordFence(inc), inc, number, |_| {
                Change::RecordFence {
                    epoch,
                    incarnation,
                    position,
                }
            });
        }
    }

    fn grants(&mut self, node: &Node<N>, epoch: Epoch) {
        for holder in node.lives().into_iter().flatten() {
            let configs = self.scene.configs(self.world, holder, node.lives());
            for config in configs.iter().copied() {
                let change = |world: &World| Change::GrantLease {
                    epoch: epoch.next(),
                    holder: holder.id(),
                    sync: world.config(config).clone(),
                };
                self.propose(
                    node,
                    Action::Grant(holder, config),
                    holder,
                    config.into(),
                    change,
                );
            }
        }
    }

    fn record_promotion(&mut self, node: &Node<N>, epoch: Epoch) {
        for member in &node.members {
            if !member.is_primary() || member.promised.opened != epoch {
                continue;
            }
            let change = |world: &World| Change::RecordPromotion {
                epoch,
                incarnation: member.inc.id(),
                lineage: world.log(member.log).lineage(),
            };
            let action = Action::RecordPromotion(member.inc);
            self.propose(node, action, member.inc, member.log.into(), change);
        }
    }

    fn sync_changes(&mut self, node: &Node<N>) {
        let facts = self.world.facts(node.group);
        let (epoch, holder) = (facts.epoch, facts.holder);
        if node.used.sync_changes >= self.scene.sync_changes || epoch.0 >= self.scene.epochs {
            return;
        }
        let revision = facts.revision.next();
        let configs = self.scene.configs(self.world, holder, node.lives());
        for config in configs
            .iter()
            .copied()
            .filter(|config| *config != facts.config)
        {
            let change = |world: &World| Change::ProposeSync {
                epoch,
                revision,
                next: world.config(config).clone(),
            };
            self.propose(
                node,
                Action::ProposeSync(config),
                holder,
                config.into(),
                change,
            );
        }
    }

    /// The evidence is taken at the moment of the command. Evidence that is
    /// older would have been as good then: a primary goes back to no lower
    /// revision, and what k members held they hold while the epoch lasts.
    fn barriers(&mut self, node: &Node<N>, epoch: Epoch, holder: Inc) {
        let Some(primary) = node.alive(holder).filter(|member| member.is_primary()) else {
            return;
        };
        let Some((order, config)) = primary.sync.filter(|(order, _)| order.epoch == epoch) else {
            return;
        };
        // The barrier ends walsenders that have not read the configuration.
        if primary.mixed.is_some() && Rule::Barrier.holds() {
            return;
        }
        let revision = order.revision;
        let position = self.world.log(primary.log).position();
        let acknowledged = node.acknowledged(self.world, primary);
        let through = acknowledged.is_some_and(|end| end as u64 >= position.lsn.0);
        if !through && Rule::Barrier.holds() && !self.world.config(config).is_asynchronous() {
            return;
        }
        let holds = |m: &&Member| m.holds(self.world.log(m.log), position);
        let confirmed: Vec<Inc> = node.members.iter().filter(holds).map(|m| m.inc).collect();
        let mask = confirmed
            .iter()
            .fold(0_u32, |mask, inc| mask | 1 << inc.member);
        let number = number_of(position) << 8 | revision.0 << 4 | mask;
        let barrier = || Barrier {
            position,
            confirmed: confirmed.iter().map(|inc| inc.id()).collect(),
        };
        self.propose(node, Action::SealEpoch(revision), holder, number, |_| {
            Change::SealEpoch {
                epoch,
                revision,
                barrier: barrier(),
            }
        });
        self.propose(node, Action::ConfirmSync(revision), holder, number, |_| {
            Change::ConfirmSync {
                epoch,
                revision,
                barrier: barrier(),
            }
        });
    }
}

impl Action {
    fn number(self) -> u8 {
        match self {
            Self::BeginFailover { .. } => 0,
            Self::RecordFence(_) => 1,
            Self::Grant(..) => 2,
            Self::RecordPromotion(_) => 3,
            Self::ProposeSync(_) => 4,
            Self::ConfirmSync(_) => 5,
            Self::SealEpoch(_) => 6,
            Self::RecordHardRenewal => 7,
            Self::ExpireLease => 8,
            _ => unreachable!("not a command"),
        }
    }
}

fn number_of(position: Position) -> u32 {
    position.timeline.0 << 4 | position.lsn.0 as u32
}
