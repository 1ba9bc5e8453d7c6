//! How often a client asks, so that no two runs of one seed differ in it and
//! no two clients march in step.

use std::time::Duration;

use fastrand::Rng;
use tokio::time;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub struct Pace {
    rng: Rng,
    stop: CancellationToken,
}

impl Pace {
    #[must_use]
    pub fn new(rng: Rng, stop: CancellationToken) -> Self {
        Self { rng, stop }
    }

    /// For choices that belong to the same client.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Waits for `mean`, give or take half of it; false once there is no more to do.
    pub async fn wait(&mut self, mean: Duration) -> bool {
        let time = self.between(mean / 2, mean + mean / 2);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = time::sleep(time) => true,
        }
    }

    /// Any time from `least` to `most`.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let share = self.rng.f64();
        least + most.saturating_sub(least).mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_keeps_within_its_limits_and_varies() {
        let mut pace = Pace::new(Rng::with_seed(1), CancellationToken::new());
        let (least, most) = (Duration::from_millis(50), Duration::from_millis(150));
        let times: Vec<_> = (0..100).map(|_| pace.between(least, most)).collect();
        assert!(times.iter().all(|time| (least..=most).contains(time)));
        assert!(times.iter().max() > times.iter().min());
    }

    #[tokio::test]
    async fn nobody_waits_once_there_is_no_more_to_do() {
        let stop = CancellationToken::new();
        stop.cancel();
        let mut pace = Pace::new(Rng::with_seed(1), stop);
        assert!(!pace.wait(Duration::from_secs(3_600)).await);
    }
}
