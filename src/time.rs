//! Time: the clocks of this machine, dates as HTTP writes them, and rates. It knows no camera and no client.

pub mod clock;
pub(crate) mod date;
pub mod rate;
