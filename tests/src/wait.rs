//! Waiting for something to become true, with a ceiling that a loaded machine does not reach.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

/// The ceiling of every wait: far above what any step needs, so that only a real failure meets it.
pub const CEILING: Duration = Duration::from_mins(1);

/// An error after which waiting longer is of no use, such as the end of the process that is waited for.
#[derive(Debug)]
pub struct Final(pub String);

impl fmt::Display for Final {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Final {}

/// Polls `probe` until it succeeds; past the [`CEILING`], or on a [`Final`] error, returns its last error,
/// headed by `what`.
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Result<T>) -> Result<T> {
    eventually_within(CEILING, what, probe)
}

/// The same with another ceiling, for what takes longer by its own definition.
pub fn eventually_within<T>(
    ceiling: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(error) if error.is::<Final>() || start.elapsed() > ceiling => {
                return Err(anyhow!("{what}: not after {:.0?}: {error:#}", start.elapsed()));
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
