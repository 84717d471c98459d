//! What each command takes.

use clap::Args;
use log::LevelFilter;

/// Flags that each command takes, and that `run` passes on to its capture processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct Common {
    /// How much to log: off, error, warn, info, debug.
    #[arg(
        long,
        global = true,
        env = "LAZYCAM_LOG",
        default_value = "info",
        value_name = "LEVEL"
    )]
    pub log: LevelFilter,
    /// MiB that a frame may have; a larger one is dropped and counted as broken. A camera takes up to three times as much of
    /// the frame directory's file system.
    #[arg(long, global = true, env = "LAZYCAM_MAX_FRAME", default_value_t = 32, value_name = "MIB",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_frame: u16,
}
