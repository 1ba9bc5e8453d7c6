//! What an operator does at once.

use fastrand::Rng;
use primacy_proto::v1::GroupSpec;

use crate::{
    client::grpc::{CallError, Node},
    history::Answer,
};

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// To a member or a region; the other one is empty.
    Switchover {
        member: String,
        region: String,
    },
    Pause,
    Resume,
    Apply {
        /// How it differs from the group as it was found.
        what: String,
        spec: Box<GroupSpec>,
    },
}

impl Task {
    /// Any but a resumption, which follows a pause.
    pub fn draw(rng: &mut Rng, found: &GroupSpec) -> Self {
        match rng.u8(..10) {
            0..3 => Self::draw_switchover(rng, found),
            3..5 => Self::Pause,
            _ => Self::draw_apply(rng, found),
        }
    }

    fn draw_switchover(rng: &mut Rng, found: &GroupSpec) -> Self {
        let drawn = rng.choice(&found.members).cloned().unwrap_or_default();
        let (member, region) = match rng.bool() {
            true => (drawn.name, String::new()),
            false => (String::new(), drawn.region),
        };
        Self::Switchover { member, region }
    }

    fn draw_apply(rng: &mut Rng, found: &GroupSpec) -> Self {
        let mut spec = found.clone();
        let names = found.members.iter().map(|member| member.name.clone());
        let mut names: Vec<_> = names.collect();
        let what = match rng.u8(..6) {
            0 => "as it was found".to_owned(),
            1 => {
                let lag = *rng.choice(&[1_u64 << 20, 4 << 20, 64 << 20]).unwrap_or(&0);
                spec.max_lag_bytes = lag.max(1);
                format!("max_lag_bytes = {}", spec.max_lag_bytes)
            }
            2 => {
                // Both of two standbys, or two of more.
                spec.sync_k = if names.len() > 2 { 2 } else { 1 };
                format!("sync.k = {}", spec.sync_k)
            }
            3 => {
                spec.sync_members.clone_from(&names);
                format!("sync.members = {}", names.join(", "))
            }
            _ => {
                if names.len() > 2 {
                    names.remove(rng.usize(..names.len()));
                }
                spec.sync_members.clone_from(&names);
                format!("sync.members = {}", names.join(", "))
            }
        };
        Self::apply(&what, spec)
    }

    pub fn apply(what: &str, spec: GroupSpec) -> Self {
        Self::Apply {
            what: what.to_owned(),
            spec: Box::new(spec),
        }
    }

    /// As an operator would say it.
    pub fn what(&self) -> String {
        match self {
            Self::Switchover { member, region } if member.is_empty() => {
                format!("switchover to region {region}")
            }
            Self::Switchover { member, .. } => format!("switchover to {member}"),
            Self::Pause => "pause".to_owned(),
            Self::Resume => "resume".to_owned(),
            Self::Apply { what, .. } => format!("apply {what}"),
        }
    }

    /// Does it at one node.
    pub async fn at(self, node: Node) -> Result<Answer, CallError> {
        match self {
            Self::Switchover { member, region } => {
                let done = node.switchover(member, region).await?;
                return Ok(Answer::Done {
                    member: done.member,
                    epoch: done.epoch,
                });
            }
            Self::Pause => node.pause().await?,
            Self::Resume => node.resume().await?,
            Self::Apply { spec, .. } => node.apply(*spec).await?,
        }
        Ok(Answer::Done {
            member: String::new(),
            epoch: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use primacy_proto::v1::MemberSpec;

    use super::*;

    fn found() -> GroupSpec {
        let member = |name: &str| MemberSpec {
            name: name.to_owned(),
            region: format!("{name}-region"),
            ..MemberSpec::default()
        };
        GroupSpec {
            name: "orders".to_owned(),
            sync_k: 1,
            max_lag_bytes: 16 << 20,
            members: ["paris", "tokyo", "lima"].map(member).into(),
            ..GroupSpec::default()
        }
    }

    #[test]
    fn an_operator_does_everything_in_time_and_says_what() {
        let mut rng = Rng::with_seed(1);
        let drawn: Vec<_> = (0..500).map(|_| Task::draw(&mut rng, &found())).collect();
        let said = |text: &str| drawn.iter().any(|task| task.what().starts_with(text));
        let all = [
            "switchover to tokyo",
            "switchover to region lima-region",
            "pause",
            "apply as it was found",
            "apply max_lag_bytes",
            "apply sync.k = 2",
            "apply sync.members = paris, tokyo, lima",
            "apply sync.members = paris, lima",
        ];
        for text in all {
            assert!(said(text), "{text}");
        }
        assert!(!said("resume"));
    }

    #[test]
    fn a_change_leaves_enough_standbys_to_wait_for() {
        let mut rng = Rng::with_seed(2);
        for _ in 0..500 {
            let Task::Apply { spec, .. } = Task::draw(&mut rng, &found()) else {
                continue;
            };
            // One of those listed may be primary.
            let listed = match spec.sync_members.len() {
                0 => spec.members.len(),
                listed => listed,
            };
            assert!(listed > spec.sync_k as usize, "{spec:?}");
            assert_eq!(spec.members, found().members);
        }
    }
}
