//! XIDs and other events, as counts and times by code in the unified schema; XIDs also as dcgm-exporter prints them.

use std::time::Instant;

use naming::{Count, Label, Seconds, catalogue as m, xid_text};
use reading::{Batch, Fault, Labels};

use crate::{
    announced::{History, KIND},
    xid,
};

/// The events of a device: watched codes from the start, others once they occur.
pub fn device(announced: Result<&History, &Fault>, now: Instant, batch: &mut Batch) {
    match announced {
        Ok(history) => put(history, xid::WATCHED, now, batch),
        Err(fault) => {
            batch.put(m::ERRORS, Labels::one(Label::Kind, "xid"), Err(*fault));
            batch.put(m::XID_LAST, Labels::NONE, Err(*fault));
        }
    }
}

/// The events of a MIG instance, which are XIDs: every code once it occurs, since the device has the watched ones and an
/// instance is short-lived. Why none can be received is reported of the device.
pub fn partition(announced: Result<&History, &Fault>, now: Instant, batch: &mut Batch) {
    if let Ok(history) = announced {
        put(history, &[], now, batch);
    }
}

fn put(announced: &History, watched: &[u32], now: Instant, batch: &mut Batch) {
    let History { xids: history, errors } = announced;
    let watched = watched.iter().filter(|code| !history.counts.contains_key(code)).map(|code| (*code, 0));
    for (code, count) in watched.chain(history.counts.iter().map(|(code, count)| (*code, *count))) {
        batch.put(m::ERRORS, Labels::one(Label::Kind, "xid").with(Label::Code, code), Ok(Count(count)));
    }
    for (code, unix_seconds) in &history.times {
        let labels = Labels::one(Label::Kind, "xid").with(Label::Code, *code);
        batch.put(m::ERROR_LAST, labels, Ok(Seconds(*unix_seconds)));
    }
    let labels = |code: &'static str| Labels::one(Label::Kind, KIND).with(Label::Code, code);
    for (code, count) in &errors.counts {
        batch.put(m::ERRORS, labels(code), Ok(Count(*count)));
    }
    for (code, unix_seconds) in &errors.times {
        batch.put(m::ERROR_LAST, labels(code), Ok(Seconds(*unix_seconds)));
    }

    let last = history.last.unwrap_or(0);
    let labels = Labels::one(Label::ErrCode, last).with(Label::ErrMsg, xid_text(last.into()));
    batch.put(m::XID_LAST, labels, Ok(Count(last.into())));
    for (code, count) in &history.counts {
        batch.put(m::XID_TOTAL, Labels::one(Label::Xid, *code), Ok(Count(*count)));
    }
    let window = history.within(xid::WINDOW, now);
    let labels = || Labels::one(Label::WindowSizeInMs, xid::WINDOW_MS);
    if window.is_empty() {
        batch.put(m::XID_WINDOW_EMPTY, labels(), Ok(Count(0)));
    }
    for (code, count) in window {
        batch.put(m::XID_WINDOW, labels().with(Label::Xid, code), Ok(Count(count)));
    }
}
