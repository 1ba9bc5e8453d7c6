//! What is done to a fleet, and how fast it should recover.

use clap::ValueEnum;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Scenario {
    /// Memory and processor time while nothing happens.
    Idle,
    /// The postmaster is killed; its agent lives.
    PostgresCrash,
    /// Everything in the primary's region is killed; Raft leads from elsewhere.
    RegionLoss,
    /// The same, with the Raft leader in that region.
    RegionAndLeaderLoss,
    Switchover,
    /// Packets from and to the primary's region are dropped.
    SilentRegionLoss,
}

impl Scenario {
    pub(super) const ALL: [Self; 6] = [
        Self::Idle,
        Self::PostgresCrash,
        Self::RegionLoss,
        Self::RegionAndLeaderLoss,
        Self::Switchover,
        Self::SilentRegionLoss,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::PostgresCrash => "postgres_crash",
            Self::RegionLoss => "region_loss",
            Self::RegionAndLeaderLoss => "region_and_leader_loss",
            Self::Switchover => "switchover",
            Self::SilentRegionLoss => "silent_region_loss",
        }
    }

    /// The write gap to stay within, in milliseconds.
    pub(super) fn target_ms(self) -> Option<u64> {
        match self {
            Self::Idle => None,
            Self::PostgresCrash => Some(300),
            Self::RegionLoss => Some(600),
            Self::RegionAndLeaderLoss => Some(2_000),
            Self::Switchover => Some(150),
            Self::SilentRegionLoss => Some(1_500),
        }
    }

    /// Where the Raft leader is first brought, if that matters: into the
    /// primary's region or out of it.
    pub(super) fn leader_inside(self) -> Option<bool> {
        match self {
            Self::RegionAndLeaderLoss => Some(true),
            Self::RegionLoss | Self::SilentRegionLoss => Some(false),
            _ => None,
        }
    }

    /// Whether it takes regions in namespaces of their own.
    pub(super) fn is_apart(self) -> bool {
        self == Self::SilentRegionLoss
    }
}
