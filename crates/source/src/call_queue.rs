//! A queue in front of a library that two threads must not be in at once.
//!
//! Each call waits for a permit. A call that never returns would then stop every device, and drivers do have
//! such calls; so a permit that is held longer than the queue's patience no longer keeps others out. From
//! then on two threads are in the library: the one that waits in the driver for its device, and the next.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The queue in front of one library.
#[derive(Debug)]
pub struct CallQueue {
    /// How long a call may keep all others waiting.
    patience: Duration,
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug)]
struct State {
    /// Number and begin of the permit that others wait for.
    current: Option<(u64, Instant)>,
    issued: u64,
    /// Threads that wait with normal priority.
    waiting: u32,
}

/// The right to call; ends when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct CallPermit<'a> {
    queue: &'a CallQueue,
    number: u64,
}

impl CallQueue {
    /// A queue in which a permit that is held for more than `patience` no longer keeps others out.
    #[must_use]
    pub const fn new(patience: Duration) -> Self {
        let state = State { current: None, issued: 0, waiting: 0 };
        Self { patience, state: Mutex::new(state), released: Condvar::new() }
    }

    /// Waits for a permit.
    pub fn acquire(&self) -> CallPermit<'_> {
        let mut state = self.lock();
        state.waiting += 1;
        let mut state = self.wait(state, |_| true);
        state.waiting -= 1;
        self.issue(&mut state)
    }

    /// Waits until nobody with normal priority waits: for calls that take long.
    pub fn acquire_low_priority(&self) -> CallPermit<'_> {
        let mut state = self.wait(self.lock(), |state| state.waiting == 0);
        self.issue(&mut state)
    }

    /// Waits until the library is free, or its caller has held the permit for too long, and `may_proceed` is
    /// true.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        may_proceed: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        loop {
            let left = state
                .current
                .map_or(Duration::ZERO, |(_, since)| self.patience.saturating_sub(since.elapsed()));
            if left.is_zero() && may_proceed(&state) {
                return state;
            }
            // A low-priority caller looks again soon: nobody notifies it when the last of the others has
            // gone.
            let pause = if left.is_zero() { Duration::from_millis(1) } else { left };
            state = self.released.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn issue(&self, state: &mut State) -> CallPermit<'_> {
        state.issued += 1;
        state.current = Some((state.issued, Instant::now()));
        CallPermit { queue: self, number: state.issued }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Changed in single steps, so it is whole even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CallPermit<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        // A permit that was held for too long has been overtaken, and the library is another caller's.
        if state.current.is_some_and(|(number, _)| number == self.number) {
            state.current = None;
            drop(state);
            self.queue.released.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc, Barrier,
            atomic::{AtomicU32, Ordering},
            mpsc,
        },
        thread,
        time::{Duration, Instant},
    };

    use super::CallQueue;

    const PATIENCE: Duration = Duration::from_millis(250);

    #[test]
    fn one_caller_at_a_time() {
        let queue = CallQueue::new(PATIENCE);
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            for slow in [false, false, false, true] {
                let (queue, inside) = (&queue, &inside);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let permit = if slow { queue.acquire_low_priority() } else { queue.acquire() };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
    }

    #[test]
    fn a_permit_that_is_not_released_is_overtaken_and_its_late_end_changes_nothing() {
        let queue = CallQueue::new(PATIENCE);
        let hung = queue.acquire();
        let start = Instant::now();
        let next = queue.acquire();
        assert!(start.elapsed() >= PATIENCE);
        // The late release of the first does not release the second.
        drop(hung);
        thread::scope(|scope| {
            let (sender, done) = mpsc::channel();
            let queue = &queue;
            let third = scope.spawn(move || {
                drop(queue.acquire());
                sender.send(Instant::now()).expect("the test listens");
            });
            assert!(done.try_recv().is_err(), "the second still holds its permit");
            drop(next);
            third.join().expect("no panic");
        });
        assert!(queue.lock().current.is_none(), "nobody holds a permit");
    }

    #[test]
    fn low_priority_lets_all_others_first() {
        let queue = Arc::new(CallQueue::new(PATIENCE));
        let first = queue.acquire();
        let ready = Arc::new(Barrier::new(3));
        let (sender, order) = mpsc::channel();
        let threads: Vec<_> = [true, false]
            .into_iter()
            .map(|slow| {
                let (queue, ready, sender) = (Arc::clone(&queue), Arc::clone(&ready), sender.clone());
                thread::spawn(move || {
                    ready.wait();
                    let permit = if slow { queue.acquire_low_priority() } else { queue.acquire() };
                    sender.send(slow).expect("the test listens");
                    drop(permit);
                })
            })
            .collect();
        ready.wait();
        while queue.lock().waiting == 0 {
            thread::yield_now();
        }
        drop(first);
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [false, true]);
    }
}
