//! How a command ends, for people and for scripts.

use std::process::ExitCode;

use tonic::{Code, Status};

/// Why a command did not do what was asked; each kind has its exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Usage(String),
    /// The quorum or the nodes cannot be reached; nothing was done.
    #[error("{0}")]
    Unreachable(String),
    /// Safety said no; nothing was done.
    #[error("refused: {0}")]
    Refused(String),
    /// It may or may not have been done.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
    /// What read our output is gone, as `head` does; no failure of ours.
    #[error("nobody reads the answer")]
    NobodyReads,
}

impl Failure {
    /// 1 failed, 2 usage, 3 unreachable, 4 refused by safety, 5 outcome unknown.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::NobodyReads => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Refused(_) => 4,
            Self::Unknown(_) => 5,
        }
    }

    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// What to do next, where there is something.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Failed(_) | Self::Usage(_) | Self::NobodyReads => None,
            Self::Unreachable(_) => Some(
                "check --server (or PRIMACY_SERVERS) and that a majority of the quorum nodes runs",
            ),
            Self::Refused(_) => Some("nothing was changed; `primacy ctl status` shows why"),
            Self::Unknown(_) => Some("look at `primacy ctl status` before you try again"),
        }
    }
}

impl From<Status> for Failure {
    /// The status of a node that answered.
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::InvalidArgument => Self::Usage(message),
            Code::Unavailable => Self::Unreachable(message),
            Code::FailedPrecondition => Self::Refused(message),
            Code::Unknown | Code::DeadlineExceeded | Code::Cancelled => Self::Unknown(message),
            _ => Self::Failed(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_the_exit_code_that_scripts_rely_on() {
        let cases = [
            (Code::NotFound, 1),
            (Code::OutOfRange, 1),
            (Code::Internal, 1),
            (Code::InvalidArgument, 2),
            (Code::Unavailable, 3),
            (Code::FailedPrecondition, 4),
            (Code::Unknown, 5),
        ];
        for (code, expected) in cases {
            let failure = Failure::from(Status::new(code, "why"));
            assert_eq!(failure.code(), expected, "{code:?}");
            assert!(failure.to_string().contains("why"));
        }
    }
}
