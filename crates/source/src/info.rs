//! The labels of an info metric.

use std::time::Instant;

use kernel::Search;
use reading::Labels;

/// What is known of a device: read when it is opened, and again now and then for what could not be read.
pub struct Info {
    labels: Labels,
    read: Box<dyn Fn() -> Labels + Send>,
    search: Search,
}

impl Info {
    /// What `read` returns, and may return later.
    pub fn new(read: impl Fn() -> Labels + Send + 'static) -> Self {
        Self { labels: read(), read: Box::new(read), search: Search::begin(Instant::now()) }
    }

    /// What is known so far.
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Reads it again where that is due. What is known stays.
    pub fn renew(&mut self, now: Instant) {
        if self.search.is_due(now) {
            self.labels = self.labels.filled(&(self.read)());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use naming::Label;

    use super::*;

    #[test]
    fn what_could_not_be_read_is_read_later_and_what_is_known_stays() {
        static READ: AtomicUsize = AtomicUsize::new(0);
        let facts = |known: &[(Label, &str)]| {
            Labels::Shared(known.iter().map(|(label, value)| (*label, (*value).to_owned())).collect())
        };
        let (vendor, model, serial) = ((Label::Vendor, "Intel"), (Label::Model, "B60"), (Label::Serial, "1"));
        let mut info = Info::new(move || match READ.fetch_add(1, Ordering::Relaxed) {
            0 => facts(&[vendor, serial]),
            1 => facts(&[vendor, model]),
            _ => facts(&[(Label::Vendor, "garbage")]),
        });
        assert_eq!(*info.labels(), facts(&[vendor, serial]));
        let now = Instant::now();
        info.renew(now);
        assert_eq!(*info.labels(), facts(&[vendor, serial]), "not due");
        for second in 1..9 {
            info.renew(now + Duration::from_secs(second));
            assert_eq!(*info.labels(), facts(&[vendor, model, serial]));
        }
        assert!(READ.load(Ordering::Relaxed) > 2);
    }
}
