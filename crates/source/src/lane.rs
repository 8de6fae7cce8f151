//! Whose turn it is to call a library that two threads must not be in at once.
//!
//! Each call takes a turn. A call that never returns would then stop every device, and drivers do have such
//! calls; so a turn that lasts longer than the lane's patience no longer keeps others out. From then on two
//! threads are in the library: one that waits in the driver for its device, and the next.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The queue in front of the library.
#[derive(Debug)]
pub struct Lane {
    /// How long a call may keep all others waiting.
    patience: Duration,
    state: Mutex<State>,
    free: Condvar,
}

#[derive(Debug)]
struct State {
    /// Number and begin of the turn that others wait for.
    current: Option<(u64, Instant)>,
    numbers: u64,
    /// Threads that wait and are not slow.
    waiting: u32,
}

/// The right to call; ends when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct Turn<'a> {
    lane: &'a Lane,
    number: u64,
}

impl Lane {
    /// A lane in which a turn of more than `patience` no longer keeps others out.
    #[must_use]
    pub const fn new(patience: Duration) -> Self {
        let state = State { current: None, numbers: 0, waiting: 0 };
        Self { patience, state: Mutex::new(state), free: Condvar::new() }
    }

    /// Waits for a turn.
    pub fn enter(&self) -> Turn<'_> {
        let mut state = self.lock();
        state.waiting += 1;
        let mut state = self.wait(state, |_| true);
        state.waiting -= 1;
        self.take(&mut state)
    }

    /// Waits for a turn that nobody else wants: for calls that take long.
    pub fn enter_slow(&self) -> Turn<'_> {
        let mut state = self.wait(self.lock(), |state| state.waiting == 0);
        self.take(&mut state)
    }

    /// Until the lane is free, or what is in it has outstayed its time, and the caller `may` go.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        may: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        loop {
            let left = state
                .current
                .map_or(Duration::ZERO, |(_, since)| self.patience.saturating_sub(since.elapsed()));
            if left.is_zero() && may(&state) {
                return state;
            }
            // A slow caller that may not go yet looks again soon: who goes first leaves without a word.
            let pause = if left.is_zero() { Duration::from_millis(1) } else { left };
            state = self.free.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn take(&self, state: &mut State) -> Turn<'_> {
        state.numbers += 1;
        state.current = Some((state.numbers, Instant::now()));
        Turn { lane: self, number: state.numbers }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Changed in single steps: whole even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.lane.lock();
        // One that outstayed its time has been overtaken: the lane is another's.
        if state.current.is_some_and(|(number, _)| number == self.number) {
            state.current = None;
            drop(state);
            self.lane.free.notify_all();
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

    use super::Lane;

    const PATIENCE: Duration = Duration::from_millis(250);

    #[test]
    fn one_at_a_time() {
        let lane = Lane::new(PATIENCE);
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            for slow in [false, false, false, true] {
                let (lane, inside) = (&lane, &inside);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let turn = if slow { lane.enter_slow() } else { lane.enter() };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
        });
    }

    #[test]
    fn a_turn_that_does_not_end_is_overtaken_and_takes_nothing_with_it() {
        let lane = Lane::new(PATIENCE);
        let hung = lane.enter();
        let start = Instant::now();
        let next = lane.enter();
        assert!(start.elapsed() >= PATIENCE);
        // The late end of the first is not the end of the second.
        drop(hung);
        thread::scope(|scope| {
            let (sender, done) = mpsc::channel();
            let lane = &lane;
            let third = scope.spawn(move || {
                drop(lane.enter());
                sender.send(Instant::now()).expect("the test listens");
            });
            assert!(done.try_recv().is_err(), "the second is still in");
            drop(next);
            third.join().expect("no panic");
        });
        assert!(lane.lock().current.is_none(), "and nobody is left in it");
    }

    #[test]
    fn slow_ones_let_all_others_first() {
        let lane = Arc::new(Lane::new(PATIENCE));
        let first = lane.enter();
        let ready = Arc::new(Barrier::new(3));
        let (sender, order) = mpsc::channel();
        let threads: Vec<_> = [true, false]
            .into_iter()
            .map(|slow| {
                let (lane, ready, sender) = (Arc::clone(&lane), Arc::clone(&ready), sender.clone());
                thread::spawn(move || {
                    ready.wait();
                    let turn = if slow { lane.enter_slow() } else { lane.enter() };
                    sender.send(slow).expect("the test listens");
                    drop(turn);
                })
            })
            .collect();
        ready.wait();
        while lane.lock().waiting == 0 {
            thread::yield_now();
        }
        drop(first);
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [false, true]);
    }
}
