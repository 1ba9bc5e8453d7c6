//! A step in words, for whoever reads a counterexample.

use crate::{
    agent::reconcile::Directory,
    domain::{Group, Instruction, Role, Stop},
};

use super::{
    actions::Action,
    scene::Node,
    world::{ConfigId, World},
};

/// What happened, and how the member looks afterwards that it happened to.
pub fn tell<const N: usize>(
    world: &World,
    before: &Node<N>,
    action: Action,
    after: Option<&Node<N>>,
) -> String {
    let group = world.group(before.group);
    let words = words(world, group, action);
    let changed = after.and_then(|after| {
        let numbers = 0..before.members.len();
        numbers
            .into_iter()
            .find(|n| before.members[*n] != after.members[*n])
            .map(|n| (after, n))
    });
    let told = after.map_or(0, |after| after.protected & !before.protected);
    let told = match told {
        0 => String::new(),
        told => {
            let writes: Vec<_> = (0..8).filter(|w| told >> w & 1 == 1).collect();
            format!("; acknowledged: write {writes:?}")
        }
    };
    match changed {
        Some((after, number)) => {
            format!("{words:<60} {}{told}", member(world, group, after, number))
        }
        None => format!("{words}{told}"),
    }
}

fn words(world: &World, group: &Group, action: Action) -> String {
    let epoch = group.epoch;
    let set = |config: ConfigId| group.describe(world.config(config));
    match action {
        Action::BeginFailover { planned: true } => {
            format!("quorum: a switchover closes epoch {epoch}")
        }
        Action::BeginFailover { planned: false } => {
            format!("quorum: a failover closes epoch {epoch}")
        }
        Action::RecordFence(inc) => format!("quorum: {inc} is fenced for epoch {epoch}"),
        Action::Grant(inc, config) => {
            format!(
                "quorum: grants epoch {} to {inc}, {}",
                epoch.next(),
                set(config)
            )
        }
        Action::RecordPromotion(inc) => format!("quorum: {inc}'s promotion is on record"),
        Action::ProposeSync(config) => format!("quorum: proposes {}", set(config)),
        Action::ConfirmSync(revision) => format!("quorum: confirms sync revision {revision}"),
        Action::SealEpoch(revision) => {
            format!("quorum: seals epoch {epoch} at sync revision {revision}")
        }
        Action::RecordHardRenewal => {
            format!("quorum: a hard renewal of epoch {epoch} is on record")
        }
        Action::ExpireLease => format!("quorum: the lease of epoch {epoch} expires"),
        Action::Obey(inc, order) => format!("{inc} obeys: {}", order_words(world, group, order)),
        Action::FailWhileObeying(inc, order) => {
            format!(
                "{inc} crashes while it obeys: {}",
                order_words(world, group, order)
            )
        }
        Action::TurnAwayFrom(inc, order) => format!(
            "{inc} begins and leaves PostgreSQL to it: {}",
            order_words(world, group, order)
        ),
        Action::PromotionEnds(inc) => format!("{inc}'s promotion ends after all"),
        Action::AllRead(inc) => format!("all walsenders of {inc} have read its sync set"),
        Action::Write(inc) => format!("{inc} takes a write"),
        Action::Stream(inc) => format!("{inc} receives from its upstream"),
        Action::Crash(inc) => format!("{inc} crashes"),
        Action::Rebirth(inc) => format!("{inc} loses its disk and is reborn"),
        Action::HardRenewalArrives(inc) => format!("{inc} learns that a hard renewal was taken"),
        Action::SoftRenewalArrives(inc) => format!("{inc} learns that a soft renewal was taken"),
        Action::StopAtDeadline(inc) => format!("{inc} stops at its deadline"),
    }
}

fn order_words(world: &World, group: &Group, order: u16) -> String {
    match world.order(order).as_ref() {
        Instruction::Hold => "hold".to_owned(),
        Instruction::Primary(primary) => format!(
            "primary of epoch {}, sync revision {}, {}",
            primary.order.epoch,
            primary.order.revision,
            group.describe(&primary.sync)
        ),
        Instruction::Standby(standby) => format!(
            "standby of {} in epoch {}, {:?}",
            standby.upstream.member, standby.epoch, standby.rejoin
        ),
        Instruction::Fence {
            epoch,
            stop: Stop::No,
        } => format!("fence of epoch {epoch}"),
        Instruction::Fence { epoch, stop } => format!("fence of epoch {epoch}, stop {stop:?}"),
    }
}

fn member<const N: usize>(world: &World, group: &Group, node: &Node<N>, number: usize) -> String {
    let member = &node.members[number];
    let log = world.log(member.log);
    let writes: Vec<_> = (0..8)
        .filter(|w| log.writes_until(log.end()) >> w & 1 == 1)
        .collect();
    let role = match member.directory {
        Directory::Running(Role::Primary) => {
            let sync = member
                .sync
                .map(|(_, config)| group.describe(world.config(config)));
            format!(
                "primary, {}",
                sync.unwrap_or("waits for nobody's answer".to_owned())
            )
        }
        Directory::Running(Role::Standby) => match member.following {
            Some((_, upstream)) => format!("standby of {upstream}"),
            None => "standby of nobody".to_owned(),
        },
        Directory::Stopped { .. } => "stopped".to_owned(),
        Directory::Absent => "empty".to_owned(),
        Directory::Wreck => "wrecked".to_owned(),
    };
    format!(
        "| {} {role}, timeline {}, writes {writes:?}",
        member.inc,
        log.timeline()
    )
}
