//! A client of the history: asks one thing after the other, under a number.
//!
//! Jepsen's rule is kept here and nowhere else: after an operation of unknown
//! outcome the client goes on under a new number, because the old one may
//! still be at work.

use std::time::Duration;

use tokio::time;

use crate::history::{Outcome, Recorder, Request};

#[derive(Debug)]
pub struct Process {
    recorder: Recorder,
    workload: &'static str,
    number: u64,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Ok,
    Fail,
    Info,
}

impl Process {
    #[must_use]
    pub fn new(recorder: &Recorder, workload: &'static str) -> Self {
        Self {
            number: recorder.process(),
            recorder: recorder.clone(),
            workload,
        }
    }

    /// Asks, and notes what came of it. What takes longer than `limit` is given
    /// up and its outcome unknown.
    pub async fn ask(
        &mut self,
        request: Request,
        limit: Duration,
        work: impl Future<Output = Outcome>,
    ) -> Ended {
        let ticket = self.recorder.begin(self.workload, self.number, request);
        let late = || Outcome::Info(format!("no answer within {} ms", limit.as_millis()));
        let outcome = time::timeout(limit, work).await;
        match outcome.unwrap_or_else(|_| late()) {
            Outcome::Ok(answer) => {
                ticket.ok(answer);
                Ended::Ok
            }
            Outcome::Fail(why) => {
                ticket.fail(why);
                Ended::Fail
            }
            Outcome::Info(why) => {
                ticket.info(why);
                self.number = self.recorder.process();
                Ended::Info
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Answer;

    const ROW: Request = Request::Write { row: 1 };
    const LIMIT: Duration = Duration::from_millis(20);

    fn numbers(recorder: &Recorder) -> Vec<u64> {
        let history = recorder.history();
        history.operations.iter().map(|it| it.process).collect()
    }

    #[tokio::test]
    async fn a_number_is_kept_until_an_outcome_is_unknown() {
        let recorder = Recorder::new();
        let mut process = Process::new(&recorder, "writes");
        let outcomes = [
            Outcome::Ok(Answer::Epoch { epoch: 1 }),
            Outcome::Fail(String::new()),
            Outcome::Info(String::new()),
            Outcome::Fail(String::new()),
        ];
        for outcome in outcomes {
            process.ask(ROW, LIMIT, async { outcome }).await;
        }
        assert_eq!(numbers(&recorder), [0, 0, 0, 1]);
    }

    #[tokio::test]
    async fn silence_is_an_unknown_outcome_not_a_failure() {
        let recorder = Recorder::new();
        let mut process = Process::new(&recorder, "writes");
        let ended = process.ask(ROW, LIMIT, std::future::pending()).await;
        assert_eq!(ended, Ended::Info);
        let outcome = recorder.history().operations[0].outcome.clone();
        assert!(matches!(outcome, Outcome::Info(_)), "{outcome:?}");
    }
}
