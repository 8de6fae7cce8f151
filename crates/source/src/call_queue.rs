//! A queue in front of a library that two threads must not be in at once.
//!
//! Each call waits for a permit, and permits are issued in the order in which they were asked for: a library that
//! is slow in each call serves every device as often as the others. Calls that are read in a
//! [`crate::lane`] let all others first.
//!
//! A call that never returns would stop every device, and drivers do have such calls; so a permit that is held
//! longer than the queue's patience no longer keeps others out. From then on two threads are in the library: the
//! one that waits in the driver for its device, and the next.

use std::{
    collections::VecDeque,
    sync::Mutex,
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crate::{lane, lock};

/// The queue in front of one library.
#[derive(Debug)]
pub struct CallQueue {
    /// How long a call may keep all others waiting.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Number and begin of the permit that others wait for.
    current: Option<(u64, Instant)>,
    issued: u64,
    tickets: u64,
    /// The tickets that wait, and their threads: those of rounds, and those of lanes. The end of a permit wakes the one
    /// thread that is next, since every thread of every device may wait here, call after call.
    waiting: [VecDeque<(u64, Thread)>; 2],
}

/// The right to call; ends when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct CallPermit<'a> {
    queue: &'a CallQueue,
    number: u64,
}

impl State {
    /// The ticket that nobody is before, and its thread.
    fn next(&self) -> Option<&(u64, Thread)> {
        let [rounds, lanes] = &self.waiting;
        rounds.front().or(lanes.front())
    }
}

impl CallQueue {
    /// A queue in which a permit that is held for more than `patience` no longer keeps others out.
    #[must_use]
    pub const fn new(patience: Duration) -> Self {
        let waiting = [VecDeque::new(), VecDeque::new()];
        let state = State { current: None, issued: 0, tickets: 0, waiting };
        Self { patience, state: Mutex::new(state) }
    }

    /// Waits until the library is free, or its caller has held the permit for too long, and it is this thread's
    /// turn.
    pub fn acquire(&self) -> CallPermit<'_> {
        let in_lane = lane::is_this_thread();
        let mut state = lock(&self.state);
        state.tickets += 1;
        let ticket = state.tickets;
        state.waiting[usize::from(in_lane)].push_back((ticket, thread::current()));
        loop {
            let left = state
                .current
                .map_or(Duration::ZERO, |(_, since)| self.patience.saturating_sub(since.elapsed()));
            if left.is_zero() && state.next().is_some_and(|(next, _)| *next == ticket) {
                break;
            }
            drop(state);
            // Whoever is before this thread wakes it.
            thread::park_timeout(if left.is_zero() { self.patience } else { left });
            state = lock(&self.state);
        }
        state.waiting[usize::from(in_lane)].pop_front();
        state.issued += 1;
        state.current = Some((state.issued, Instant::now()));
        CallPermit { queue: self, number: state.issued }
    }
}

impl Drop for CallPermit<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.queue.state);
        // A permit that was held for too long has been overtaken, and the library is another caller's.
        if state.current.is_some_and(|(number, _)| number == self.number) {
            state.current = None;
            if let Some((_, thread)) = state.next() {
                thread.unpark();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
            mpsc,
        },
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(250);

    #[test]
    fn one_caller_at_a_time() {
        let queue = CallQueue::new(PATIENCE);
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            for in_lane in [false, false, false, true] {
                let (queue, inside) = (&queue, &inside);
                scope.spawn(move || {
                    lane::mark_this_thread(in_lane);
                    for _ in 0..200 {
                        let permit = queue.acquire();
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
        assert!(lock(&queue.state).current.is_none(), "nobody holds a permit");
    }

    #[test]
    fn permits_are_issued_in_order_and_to_lanes_last() {
        // No permit is overtaken, however slow the machine.
        let queue = Arc::new(CallQueue::new(Duration::from_hours(1)));
        let first = queue.acquire();
        let (sender, order) = mpsc::channel();
        let mut threads = Vec::new();
        for (number, in_lane) in [true, false, true, false, false].into_iter().enumerate() {
            let (own, sender) = (Arc::clone(&queue), sender.clone());
            threads.push(thread::spawn(move || {
                lane::mark_this_thread(in_lane);
                let permit = own.acquire();
                sender.send(number).expect("the test listens");
                drop(permit);
            }));
            // Each waits before the next one does.
            while lock(&queue.state).waiting.iter().map(VecDeque::len).sum::<usize>() <= number {
                thread::yield_now();
            }
        }
        drop(first);
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [1, 3, 4, 0, 2]);
    }
}
