//! One thread at a time through the calls that are not thread-safe.
//!
//! nvml.h says that NVML is thread-safe, and its users found otherwise: threads that met in
//! `nvmlGpmSampleGet` crashed, in `nvmlDeviceGetFieldValues` they lost fields of NVLink, also when each had a
//! device of its own (DataDog/datadog-agent, pull requests 54458 and 54821).

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a turn lasts at most. Such a call takes milliseconds; one that takes longer hangs in the driver,
/// and must not take the other devices with it: together with their own calls, the wait is well below the
/// shortest deadline.
const LONGEST: Duration = Duration::from_millis(500);

/// The turns of this process, as the library is one for all of it.
static TURNS: Turns = Turns { state: Mutex::new(State { last: 0, holder: None }), over: Condvar::new() };

struct Turns {
    state: Mutex<State>,
    over: Condvar,
}

struct State {
    /// Number of the last turn that was given.
    last: u64,
    /// Number and begin of the turn that is being had.
    holder: Option<(u64, Instant)>,
}

/// A turn; the next one begins when it is dropped, or when it has lasted too long.
pub struct Turn {
    turns: &'static Turns,
    number: u64,
}

/// Waits for a turn.
pub fn take() -> Turn {
    TURNS.take(LONGEST)
}

impl Turns {
    fn take(&'static self, longest: Duration) -> Turn {
        let mut state = self.lock();
        while let Some(left) =
            state.holder.and_then(|(_, begin)| longest.checked_sub(begin.elapsed())).filter(|d| !d.is_zero())
        {
            state = self.over.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.last += 1;
        state.holder = Some((state.last, Instant::now()));
        Turn { turns: self, number: state.last }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain numbers, written in single steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        // A turn that was too long has been given to another, who is not disturbed.
        if state.holder.is_some_and(|(number, _)| number == self.number) {
            state.holder = None;
            self.turns.over.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    use super::*;

    fn turns() -> &'static Turns {
        Box::leak(Box::new(Turns {
            state: Mutex::new(State { last: 0, holder: None }),
            over: Condvar::new(),
        }))
    }

    #[test]
    fn nobody_meets_another() {
        let (turns, inside) = (turns(), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _turn = turns.take(Duration::from_mins(1));
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn who_hangs_is_passed_over_and_disturbs_nobody_afterwards() {
        let turns = turns();
        let hung = turns.take(Duration::from_mins(1));
        let next = turns.take(Duration::from_millis(10));
        drop(hung);
        assert_eq!(turns.lock().holder.map(|(number, _)| number), Some(next.number));
        drop(next);
        assert!(turns.lock().holder.is_none());
    }
}
