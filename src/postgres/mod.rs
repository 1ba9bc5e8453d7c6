//! The hands on one PostgreSQL: tokio-postgres, the data directory, and the
//! fuse that runs it.
//!
//! Every function is idempotent, ends within the budget that it is given, and
//! decides nothing: what to do is the agent's plan. In reading order:
//! [`Instance`] (what was configured), `settings`, `hba`, `passfile` (what is
//! written before a start), `server` (start, stop, reload), `probe` and `wal`
//! (what is so), `fence`, `promote`, `follow`, `sync`, `barrier` (the steps of
//! a failover), `initdb`, `clone`, `rewind` (where a data directory comes from).
//!
//! Invariants: nothing in PGDATA, which base backups and pg_rewind copy
//! between members, has a say in who a member is or whom it follows; no
//! password is on a command line, in SQL or in a log;
//! `synchronous_standby_names` is never empty unless a group is asynchronous.

mod barrier;
mod clone;
mod control;
mod error;
mod fence;
mod files;
mod follow;
mod hba;
mod initdb;
mod installed;
mod instance;
mod lineage;
mod lock_file;
mod members;
mod passfile;
mod placeholder;
mod probe;
mod promote;
mod receiver;
mod rewind;
mod secret;
mod server;
mod session;
mod settings;
mod sync;
mod tool;
mod version;
mod wal;

pub use barrier::Barrier;
pub use clone::{Progress, Replaced};
pub use control::{ControlData, ControlState};
pub use error::Error;
pub use fence::{FenceMethod, Fenced};
pub use follow::Upstream;
pub use installed::{DIRECTORY as PROGRAMS, newest_programs};
pub use instance::Instance;
pub use placeholder::clean_placeholders;
pub use probe::{Probe, Receiver, Role, Sender};
pub use promote::Promotion;
pub use rewind::{Rewound, is_wreck};
pub use secret::Secret;
pub use server::{LocalPostgres, is_standby};
pub use settings::is_owned_setting;
pub use sync::SyncNames;
pub use version::{check_binaries, is_supported};
pub use wal::EndOfWal;
