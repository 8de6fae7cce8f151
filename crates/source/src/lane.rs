//! Readings that may take long, beside the rounds: optional values that cost a device nothing but themselves,
//! however slow the driver is or whether it returns at all.
//!
//! A lane reads on a thread of its own. A round asks for the reading and waits for it until the lane's budget is used
//! up: a driver that is fast is read in the round. One that is slow is read meanwhile, and the round has the reading
//! before, with its age, until that is too old. One that hangs is waited for once. No second reading is begun while one is in progress, whatever
//! becomes of the device meanwhile: a driver that hangs occupies one thread.

use std::{
    cell::Cell,
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use reading::{Fault, FaultCode, Measured};

use crate::{lock, panic_message};

/// As the exporter's own threads that call a driver.
const STACK_BYTES: usize = 512 * 1024;

/// The names of the lanes that have a thread.
static RUNNING: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

thread_local! {
    static IS_LANE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread reads a lane.
pub(crate) fn is_this_thread() -> bool {
    IS_LANE.get()
}

/// Makes this thread one that reads a lane, or not.
pub(crate) fn mark_this_thread(is_lane: bool) {
    IS_LANE.set(is_lane);
}

/// The times of a lane.
#[derive(Clone, Copy, Debug)]
pub struct LaneTimes {
    /// From the beginning of one reading to that of the next, at least.
    pub period: Duration,
    /// How long rounds wait for a reading, from when it is begun.
    pub budget: Duration,
    /// The age at which a reading is withdrawn.
    pub age_max: Duration,
}

/// What is read in one lane of one device.
pub struct Lane<T> {
    /// Device and lane; unique in the process.
    name: String,
    /// The call in faults.
    call: &'static str,
    times: LaneTimes,
    shared: Arc<Shared<T>>,
    reader: Option<Reader<T>>,
    /// To the lane's thread; dropping it ends the thread when its reading does.
    requests: Option<Sender<()>>,
}

type Reader<T> = Box<dyn FnMut() -> T + Send>;

struct Shared<T> {
    state: Mutex<State<T>>,
    ended: Condvar,
}

struct State<T> {
    begun: Option<Instant>,
    in_progress: bool,
    /// Whether the last reading ended by a defect.
    panicked: bool,
    newest: Option<(Instant, Arc<T>)>,
}

impl<T: Send + Sync + 'static> Lane<T> {
    /// A lane that reads by `reader`. Nothing is read yet.
    pub fn new(
        name: String,
        call: &'static str,
        times: LaneTimes,
        reader: impl FnMut() -> T + Send + 'static,
    ) -> Self {
        let state = State { begun: None, in_progress: false, panicked: false, newest: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), ended: Condvar::new() });
        Self { name, call, times, shared, reader: Some(Box::new(reader)), requests: None }
    }

    /// Begins a reading, if it is time for one and none is in progress, waits for it within the budget, and
    /// returns the newest with its age.
    ///
    /// # Errors
    /// `first_reading` when there is none yet, `stale` when the newest is too old, `no_thread`, or `panic` after
    /// a defect.
    pub fn read(&mut self) -> Measured<(Duration, Arc<T>)> {
        let newest = self.waited().newest.clone();
        self.if_fresh(newest)
    }

    /// As [`Lane::read`], for a reading that is used once: it is not returned again.
    ///
    /// # Errors
    /// As [`Lane::read`]; `first_reading` also where the newest was returned before.
    pub fn take(&mut self) -> Measured<T> {
        let newest = self.waited().newest.take();
        let (_, reading) = self.if_fresh(newest)?;
        Arc::into_inner(reading).ok_or_else(|| self.fault(FaultCode::FirstReading))
    }

    /// Begins a reading, if it is time for one, and waits for one that is in progress.
    fn waited(&mut self) -> MutexGuard<'_, State<T>> {
        self.request(Instant::now());
        let state = lock(&self.shared.state);
        let left =
            state.begun.map_or(Duration::ZERO, |begun| self.times.budget.saturating_sub(begun.elapsed()));
        let waited = self.shared.ended.wait_timeout_while(state, left, |state| state.in_progress);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn if_fresh(&self, newest: Option<(Instant, Arc<T>)>) -> Measured<(Duration, Arc<T>)> {
        let Some((begun, reading)) = newest else {
            return Err(self.fault(self.why_none(&lock(&self.shared.state))));
        };
        let age = begun.elapsed();
        if age > self.times.age_max { Err(self.fault(FaultCode::Stale)) } else { Ok((age, reading)) }
    }

    fn request(&mut self, now: Instant) {
        let mut state = lock(&self.shared.state);
        let is_due =
            state.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= self.times.period);
        if state.in_progress || !is_due {
            return;
        }
        if self.requests.is_none() {
            self.requests =
                self.reader.take_if(|_| lock(&RUNNING).insert(self.name.clone())).and_then(|reader| {
                    let (sender, requests) = mpsc::channel();
                    let (name, shared) = (self.name.clone(), Arc::clone(&self.shared));
                    let thread = thread::Builder::new().name("lane".into()).stack_size(STACK_BYTES);
                    let spawned = thread.spawn(move || run(&name, &requests, reader, &shared));
                    if spawned.is_err() {
                        lock(&RUNNING).remove(&self.name);
                    }
                    spawned.ok().map(|_| sender)
                });
        }
        if let Some(requests) = &self.requests
            && requests.send(()).is_ok()
        {
            (state.in_progress, state.begun) = (true, Some(now));
        }
    }

    fn why_none(&self, state: &State<T>) -> FaultCode {
        match (&self.requests, &self.reader) {
            _ if state.panicked => FaultCode::Panic,
            (Some(_), _) => FaultCode::FirstReading,
            // Another thread is still in a reading of this name.
            (None, Some(_)) => FaultCode::Deadline,
            (None, None) => FaultCode::NoThread,
        }
    }

    fn fault(&self, code: FaultCode) -> Fault {
        Fault::new(self.call, code)
    }
}

/// The thread of a lane: reads when it is asked to, until nobody can ask any more.
fn run<T>(name: &str, requests: &Receiver<()>, mut reader: Reader<T>, shared: &Shared<T>) {
    mark_this_thread(true);
    while requests.recv().is_ok() {
        let begun = Instant::now();
        let read = catch_unwind(AssertUnwindSafe(&mut reader));
        let mut state = lock(&shared.state);
        (state.in_progress, state.panicked) = (false, read.is_err());
        match read {
            Ok(reading) => state.newest = Some((begun, Arc::new(reading))),
            Err(panic) => {
                state.newest = None;
                tracing::error!(lane = name, why = panic_message(&*panic), "a defect ended a reading");
            }
        }
        drop(state);
        shared.ended.notify_all();
    }
    // What the reader holds goes before another may take its place.
    drop(reader);
    lock(&RUNNING).remove(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: LaneTimes = LaneTimes {
        period: Duration::ZERO,
        budget: Duration::from_hours(1),
        age_max: Duration::from_hours(1),
    };

    fn code<T>(read: Measured<(Duration, Arc<T>)>) -> Result<Arc<T>, &'static str> {
        read.map(|(_, reading)| reading).map_err(|fault| fault.code.name())
    }

    #[test]
    fn a_fast_reading_is_that_of_the_round() {
        let mut count = 0;
        let mut lane = Lane::new("fast".into(), "call", TIMES, move || {
            count += 1;
            count
        });
        assert_eq!(code(lane.read()), Ok(Arc::new(1)));
        assert_eq!(code(lane.read()), Ok(Arc::new(2)));
        let rare = LaneTimes { period: Duration::from_hours(1), ..TIMES };
        let mut lane = Lane::new("rare".into(), "call", rare, move || {
            count += 1;
            count
        });
        assert_eq!([code(lane.read()), code(lane.read())], [Ok(Arc::new(1)), Ok(Arc::new(1))]);
    }

    #[test]
    fn a_slow_reading_is_not_waited_for_and_one_that_hangs_occupies_one_thread() {
        let (release, hang) = mpsc::channel::<u32>();
        let (entered, begun) = mpsc::channel();
        let hang = Arc::new(Mutex::new(hang));
        let slow = || {
            let (hang, entered) = (Arc::clone(&hang), entered.clone());
            let times = LaneTimes { budget: Duration::ZERO, ..TIMES };
            Lane::new("slow".into(), "call", times, move || {
                entered.send(()).expect("the test listens");
                lock(&hang).recv().expect("released")
            })
        };
        let mut lane = slow();
        assert_eq!(code(lane.read()), Err("first_reading"));
        assert_eq!(code(lane.read()), Err("first_reading"), "and no second one begins");
        begun.recv().expect("begun");
        release.send(7).expect("it waits");
        while code(lane.read()).is_err() {
            thread::yield_now();
        }
        // The read that found it may have begun the next.
        let _ = lane.read();
        begun.recv().expect("begun");
        assert_eq!(code(lane.read()), Ok(Arc::new(7)), "the one before, with its age");
        // The device is lost and opened again, and the driver still hangs.
        drop(lane);
        let mut again = slow();
        for _ in 0..10 {
            assert_eq!(code(again.read()), Err("deadline"));
        }
        assert!(begun.try_recv().is_err(), "no second thread");
        release.send(8).expect("it waits");
        while code(again.read()) == Err("deadline") {
            thread::yield_now();
        }
        begun.recv().expect("a new thread reads");
        release.send(9).expect("it waits");
        while code(again.read()).is_err() {
            thread::yield_now();
        }
        assert_eq!(code(again.read()), Ok(Arc::new(9)));
        release.send(10).expect("it may wait");
    }

    #[test]
    fn a_reading_that_hangs_is_waited_for_once() {
        let (release, hang) = mpsc::channel::<()>();
        let times = LaneTimes { budget: Duration::from_millis(50), ..TIMES };
        let mut lane = Lane::new("once".into(), "call", times, move || hang.recv().expect("released"));
        assert_eq!(code(lane.read()), Err("first_reading"));
        let begun = Instant::now();
        // If each waited, it would take half a minute.
        for _ in 0..600 {
            assert_eq!(code(lane.read()), Err("first_reading"));
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        release.send(()).expect("it waits");
        while code(lane.read()).is_err() {
            thread::yield_now();
        }
        drop(release);
    }

    #[test]
    fn what_is_taken_is_not_returned_again() {
        let mut count = 0;
        let times = LaneTimes { period: Duration::from_hours(1), ..TIMES };
        let mut lane = Lane::new("taken".into(), "call", times, move || {
            count += 1;
            count
        });
        let taken = |lane: &mut Lane<u32>| lane.take().map_err(|fault| fault.code.name());
        assert_eq!([taken(&mut lane), taken(&mut lane)], [Ok(1), Err("first_reading")]);
    }

    #[test]
    fn what_is_too_old_is_withdrawn_and_a_defect_costs_the_reading() {
        let times = LaneTimes { age_max: Duration::ZERO, ..TIMES };
        let mut lane = Lane::new("old".into(), "call", times, || thread::sleep(Duration::from_millis(1)));
        assert_eq!(code(lane.read()), Err("stale"));
        let mut defective = Lane::new("defective".into(), "call", TIMES, || -> u32 { panic!("on purpose") });
        assert_eq!([code(defective.read()), code(defective.read())], [Err("panic"), Err("panic")]);
    }
}
