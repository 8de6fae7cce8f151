//! Reading devices: one supervisor thread for each source, one worker thread for each device, and the state
//! that they publish.

pub mod bus;
pub mod call;
pub mod detached;
pub mod device;
pub mod fine;
pub mod history;
pub mod standby;
pub mod state;
pub mod sums;
pub mod supervisor;
pub mod timing;
pub mod worker;
