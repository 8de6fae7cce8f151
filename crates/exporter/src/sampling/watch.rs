//! The thread that looks for hung calls and old snapshots.
//!
//! It is no task of the event loop, which would wake up three times for each look: its timers are rounded, and it wakes
//! itself for a task that is due.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Barrier},
    thread,
    time::Instant,
};

use tokio::sync::oneshot;

use crate::sampling::state::NodeState;

/// The stack of the thread, which formats lines of the log at most.
const STACK_BYTES: usize = 128 << 10;

/// Starts the thread, which runs to the end of the process. The future resolves if it ends by a defect.
///
/// # Errors
/// When no thread can be started.
pub fn spawn(node: Arc<NodeState>) -> io::Result<impl Future<Output = ()>> {
    let (held, ended) = oneshot::channel::<Infallible>();
    let looked = Arc::new(Barrier::new(2));
    let at_start = Arc::clone(&looked);
    let watch = move || -> Infallible {
        let _held = held;
        node.check(Instant::now());
        at_start.wait();
        loop {
            thread::sleep(if node.in_call() { node.timing.watch() } else { node.timing.budget() });
            node.check(Instant::now());
        }
    };
    thread::Builder::new().name("watch".to_owned()).stack_size(STACK_BYTES).spawn(watch)?;
    // The first look uses thread-local values, for which a thread needs the lock that a library holds while it is opened.
    looked.wait();
    Ok(async {
        let _ = ended.await;
    })
}
