//! A sign of life on the terminal for what takes more than a second.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time;

const QUIET: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(120);

/// Waits for `work`; after a second, and only on a terminal, shows `message`.
pub async fn during<T>(message: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if !stderr().is_terminal() {
        return work.await;
    }
    if let Ok(done) = time::timeout(QUIET, &mut work).await {
        return done;
    }
    let bar = ProgressBar::new_spinner().with_message(message.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    let done = work.await;
    bar.finish_and_clear();
    done
}
