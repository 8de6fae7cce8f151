//! What NVML announced of each GPU since the exporter started: XIDs, and errors of other types.

use std::time::Duration;

use reading::{LabelValue, Remembered};
use source::{EventHistory, EventLog};

use crate::{
    identity::instance_number,
    raw::event_codes,
    xid::{self, XidHistory, XidLog},
};

/// The label `kind` of errors that NVML announces by a type of event rather than an XID.
pub const KIND: &str = "nvml_event";

/// What was announced of one GPU or GPU instance.
#[derive(Debug, Default)]
pub struct History {
    /// XIDs.
    pub xids: XidHistory,
    /// Errors of other types by their code. NVML announces them of whole GPUs.
    pub errors: EventHistory<&'static str>,
}

impl History {
    /// Whether nothing was announced.
    pub fn is_empty(&self) -> bool {
        self.xids.last.is_none() && self.errors.last.is_none()
    }
}

/// The log of all. Cheap to clone: every clone is the same log.
#[derive(Clone, Debug)]
pub struct Announced {
    /// XIDs.
    pub xids: XidLog,
    /// Errors of other types, by key of the GPU.
    pub errors: EventLog<String, &'static str>,
}

impl Announced {
    /// An empty log.
    pub fn new() -> Self {
        Self { xids: XidLog::new(xid::WINDOW), errors: EventLog::new(Duration::ZERO) }
    }

    /// Takes what was announced to an earlier process. Only the first call counts.
    pub fn begin_with(&self, boards: &[Remembered]) {
        let events =
            || boards.iter().flat_map(|board| board.announced.iter().map(move |event| (board, event)));
        self.xids.begin_with(events().filter_map(|(board, event)| {
            let LabelValue::Number(code) = event.code else { return None };
            let instance = event.partition.as_deref().map(instance_number);
            // Of an instance that is not known any more, they are the board's.
            Some(((board.key.clone(), instance.flatten()), code, event.count, event.last))
        }));
        self.errors.begin_with(events().filter_map(|(board, event)| {
            let LabelValue::Word(code) = event.code else { return None };
            let code = event_codes(u64::MAX).find(|known| *known == code)?;
            Some((board.key.clone(), code, event.count, event.last))
        }));
    }

    /// What was announced of a GPU or of an instance on it.
    pub fn history(&self, key: &str, instance: Option<u32>) -> History {
        let xids = self.xids.history(&(key.to_owned(), instance)).unwrap_or_default();
        let errors = if instance.is_none() { self.errors.history(&key.to_owned()) } else { None };
        History { xids, errors: errors.unwrap_or_default() }
    }
}
