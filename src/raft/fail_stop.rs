//! What happens when the disk fails: the process ends.
//!
//! A failed write or fsync leaves it unknown what is on the disk, and a later
//! fsync that succeeds says nothing about it. A node that went on could forget
//! a vote or an entry that it acknowledged; one that is gone cannot.

use std::fmt::Display;

/// Says what failed and ends the process at once, without any clean-up.
pub(crate) fn fail_stop(doing: &str, error: &dyn Display) -> ! {
    tracing::error!(%error, doing, "storage failed; this process ends so as not to forget what it promised");
    // The subscriber may be absent or buffered, and this is the last word.
    eprintln!("primacy: storage failed while {doing}: {error}; ending this process");
    std::process::abort()
}

pub(crate) trait OrFailStop<T> {
    /// The value, or the end of the process.
    fn or_fail_stop(self, doing: &str) -> T;
}

impl<T, E: Display> OrFailStop<T> for Result<T, E> {
    fn or_fail_stop(self, doing: &str) -> T {
        self.unwrap_or_else(|error| fail_stop(doing, &error))
    }
}
