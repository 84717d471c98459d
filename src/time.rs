//! Time: the clocks of this machine, dates as HTTP writes them, rates, and waits that grow. It knows no camera and no
//! client.

pub mod backoff;
pub mod clock;
pub(crate) mod date;
pub mod rate;
