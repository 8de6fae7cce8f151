//! The exporter's end of the connection to a helper process: calls on their way, and how the helper ended.

use std::{
    collections::HashMap,
    net::Shutdown,
    os::unix::net::UnixStream,
    process::Child,
    sync::{
        Condvar, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use naming::Family;
use reading::{Fault, FaultCode, Notice, Notify};
use source::lock;
use tracing::warn;

use super::{
    OPENING, SILENCE, describe,
    frame::{Body, Broken, Call, Inbox, send},
    process,
    wire::Wire,
};

/// How often it is checked whether a helper is silent.
const TICK: Duration = Duration::from_secs(1);

/// How long a helper that has closed its connection may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// A connection to a helper, shared by everything that calls into it.
pub struct Link {
    connection: UnixStream,
    state: Mutex<State>,
    /// Signalled when the process is gone.
    gone: Condvar,
    /// Takes what the helper says without being asked.
    notify: Option<Notify>,
}

#[derive(Default)]
struct State {
    /// By their numbers.
    calls: HashMap<u32, Running>,
    last: u32,
    /// When a call into the library returned last.
    returned: Option<Instant>,
    end: Option<End>,
    /// Whether the process is gone, too.
    is_gone: bool,
}

struct Running {
    name: &'static str,
    /// How long no call into the library may return meanwhile.
    silence: Duration,
    /// Whether the library is called for it.
    enters_library: bool,
    since: Instant,
    result: Sender<Body>,
}

/// How a helper ended.
#[derive(Clone, Debug)]
pub struct End {
    /// For the faults of calls that were under way or come later.
    pub code: FaultCode,
    /// For people.
    pub text: String,
}

impl Link {
    /// A link over a new connection.
    pub fn new(connection: UnixStream, notify: Option<Notify>) -> Self {
        Self { connection, state: Mutex::default(), gone: Condvar::new(), notify }
    }

    /// Makes a call and waits for its result, which comes at the latest with the end of the helper.
    ///
    /// # Errors
    /// The fault of the helper's end.
    pub fn call<T: Wire>(&self, call: Call) -> Result<T, Fault> {
        self.call_within(call, Duration::MAX)
    }

    /// The same, but waits no longer than `patience`.
    ///
    /// # Errors
    /// As above, and `deadline`.
    pub fn call_within<T: Wire>(&self, call: Call, patience: Duration) -> Result<T, Fault> {
        let name = call.name();
        let silence = if matches!(call, Call::Connect(_)) { OPENING } else { SILENCE };
        let enters_library = !matches!(call, Call::Recall(_));
        let received = {
            let (sender, receiver) = mpsc::channel();
            let mut state = lock(&self.state);
            if state.end.is_none() {
                state.last = state.last.checked_add(1).unwrap_or(1);
                let number = state.last;
                state.calls.insert(
                    number,
                    Running { name, silence, enters_library, since: Instant::now(), result: sender },
                );
                // Under the lock, since frames must not mix. The helper always reads.
                if send(&self.connection, &(number, call)).is_err() {
                    self.close();
                }
            }
            receiver
        };
        let Body(bytes) = received.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => Fault::new(name, FaultCode::Deadline),
            RecvTimeoutError::Disconnected => Fault::new(name, self.code()),
        })?;
        let mut input = &*bytes;
        T::take(&mut input).filter(|_| input.is_empty()).ok_or_else(|| {
            self.end(&End::of(FaultCode::HelperGarbled));
            Fault::new(name, FaultCode::HelperGarbled)
        })
    }

    /// Makes a call that has no result.
    pub fn notify(&self, call: Call) {
        let state = lock(&self.state);
        if state.end.is_none() && send(&self.connection, &(0u32, call)).is_err() {
            self.close();
        }
    }

    /// How the helper ended, if it did.
    pub fn ended(&self) -> Option<End> {
        lock(&self.state).end.clone()
    }

    /// Whether its process is gone, too.
    pub fn is_gone(&self) -> bool {
        lock(&self.state).is_gone
    }

    /// Ends the helper, and waits for that, but no longer than `patience`. Returns whether it ended.
    pub fn finish(&self, patience: Duration) -> bool {
        let text = "closed, because a device is detached".to_owned();
        self.end(&End { code: FaultCode::Unavailable, text });
        let state = lock(&self.state);
        let waited = self.gone.wait_timeout_while(state, patience, |state| !state.is_gone);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_gone
    }

    fn code(&self) -> FaultCode {
        self.ended().map_or(FaultCode::HelperGarbled, |end| end.code)
    }

    /// Lets every call fail that is under way. The first end counts.
    fn end(&self, end: &End) {
        let mut state = lock(&self.state);
        state.end.get_or_insert_with(|| end.clone());
        state.calls.clear();
        drop(state);
        self.close();
    }

    /// Wakes the thread that attends the helper, which then ends it.
    fn close(&self) {
        // It may be closed already.
        let _ = self.connection.shutdown(Shutdown::Both);
    }

    /// Passes a result on. Returns whether there is such a call. What nobody asked for has the number 0.
    pub fn deliver(&self, number: u32, result: Body) -> bool {
        if number == 0 {
            let notice = Notice::take(&mut &*result.0);
            return notice.zip(self.notify.as_ref()).map(|(notice, notify)| notify(notice)).is_some();
        }
        let mut state = lock(&self.state);
        let Some(running) = state.calls.remove(&number) else { return false };
        if running.enters_library {
            state.returned = Some(Instant::now());
        }
        // Who called may no longer wait.
        let _ = running.result.send(result);
        true
    }

    /// Whether calls into the library are under way, and none returned for longer than any of them may take.
    fn hangs(&self, now: Instant) -> bool {
        let state = lock(&self.state);
        let calls = || state.calls.values().filter(|running| running.enters_library);
        let longest = calls().map(|running| running.silence).max();
        let first = calls().map(|running| running.since).min();
        let silent_since = first.map(|first| state.returned.map_or(first, |returned| returned.max(first)));
        let silence = silent_since.map(|since| now.saturating_duration_since(since));
        silence > longest
    }

    /// What was called, for people.
    fn under_way(&self) -> String {
        let state = lock(&self.state);
        let mut names: Vec<_> = state.calls.values().map(|running| running.name).collect();
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }

    /// Receives results until the helper ends, ends it where it does not end by itself, and waits for that.
    pub fn attend(&self, family: Family, mut child: Child) {
        let mut inbox = Inbox::default();
        let found = loop {
            let (goes_on, code) = match inbox.receive(&self.connection) {
                Ok(Some((number, body))) => (self.deliver(number, body), FaultCode::HelperGarbled),
                // A process that the library started may hold the connection open.
                Ok(None) if process::ended(&child).is_some() => break None,
                Ok(None) => (!self.hangs(Instant::now()), FaultCode::LibraryHung),
                Err(Broken::Garbled) => (false, FaultCode::HelperGarbled),
                Err(Broken::Closed) => break None,
            };
            if !goes_on {
                break Some(code);
            }
        };
        let end = match found {
            Some(code) => End::of(code),
            None => self.ended().unwrap_or_else(|| ending(&child)),
        };
        let during = self.under_way();
        warn!(
            source = family.name(),
            pid = child.id(),
            during,
            why = end.text,
            "the process of the vendor's library ended; it will be started again"
        );
        self.end(&end);
        // Until it has, no other is started.
        process::end(&mut child);
        lock(&self.state).is_gone = true;
        self.gone.notify_all();
    }
}

impl End {
    fn of(code: FaultCode) -> Self {
        Self { code, text: describe(code).to_owned() }
    }
}

/// How a helper ended that has closed its connection: it ends by itself, or not at all.
fn ending(child: &Child) -> End {
    let until = Instant::now() + GRACE;
    loop {
        match process::ended(child) {
            Some((code, text)) => return End { code, text },
            None if Instant::now() < until => thread::sleep(GRACE / 100),
            None => return End::of(FaultCode::HelperGarbled),
        }
    }
}

/// Sets how often [`Link::attend`] looks at the clock.
///
/// # Errors
/// Those of the operating system.
pub fn tick(connection: &UnixStream) -> std::io::Result<()> {
    connection.set_read_timeout(Some(TICK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_hangs_when_nothing_returns_for_as_long_as_any_of_its_calls_may_take() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let link = Link::new(ours, None);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut receivers = Vec::new();
        let mut call = |number: u32, silence, enters_library, seconds| {
            let (result, receiver) = mpsc::channel();
            receivers.push(receiver);
            let running = Running { name: "sample", silence, enters_library, since: at(seconds), result };
            lock(&link.state).calls.insert(number, running);
        };
        assert!(!link.hangs(at(100)), "nothing is called");
        call(1, SILENCE, true, 0);
        call(2, SILENCE, false, 5);
        assert!(!link.hangs(at(10)));
        assert!(link.hangs(at(11)), "a call that reads memory only is no sign of life");
        call(3, SILENCE, true, 9);
        assert!(link.hangs(at(11)), "nor is one that has begun");
        lock(&link.state).returned = Some(at(8));
        assert!(!link.hangs(at(11)), "another call returned");
        assert!(link.hangs(at(19)));
        call(4, OPENING, true, 10);
        assert!(!link.hangs(at(19)), "opening may take long");
        assert!(link.hangs(at(39)));
    }
}
