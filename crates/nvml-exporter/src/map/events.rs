//! XIDs, as counts and times by code in the unified schema and as dcgm-exporter prints them.

use std::time::Instant;

use naming::{Count, Label, Seconds, catalogue as m, xid_text};
use reading::{Batch, Fault, Labels};

use crate::xid::{self, XidHistory};

/// The XIDs of a device: watched codes from the start, others once they occur.
pub fn device(xids: Result<&XidHistory, &Fault>, now: Instant, batch: &mut Batch) {
    match xids {
        Ok(history) => put(history, xid::WATCHED, now, batch),
        Err(fault) => {
            batch.put(m::ERRORS, Labels::one(Label::Kind, "xid"), Err(*fault));
            batch.put(m::XID_LAST, Labels::NONE, Err(*fault));
        }
    }
}

/// The XIDs of a MIG instance: every code once it occurs, since the device has the watched ones and an
/// instance is short-lived. Why none can be received is reported of the device.
pub fn partition(xids: Result<&XidHistory, &Fault>, now: Instant, batch: &mut Batch) {
    if let Ok(history) = xids {
        put(history, &[], now, batch);
    }
}

fn put(history: &XidHistory, watched: &[u32], now: Instant, batch: &mut Batch) {
    let watched = watched.iter().filter(|code| !history.counts.contains_key(code)).map(|code| (*code, 0));
    for (code, count) in watched.chain(history.counts.iter().map(|(code, count)| (*code, *count))) {
        batch.put(m::ERRORS, Labels::one(Label::Kind, "xid").with(Label::Code, code), Ok(Count(count)));
    }
    for (code, unix_seconds) in &history.times {
        let labels = Labels::one(Label::Kind, "xid").with(Label::Code, *code);
        batch.put(m::ERROR_LAST, labels, Ok(Seconds(*unix_seconds)));
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
