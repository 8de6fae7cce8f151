//! SIGHUP: what can be read again while the program runs is, and what cannot is named.

use std::{ffi::OsString, io, sync::Arc, thread};

use arc_swap::ArcSwap;
use clap::ArgMatches;
use signal_hook::{consts::SIGHUP, iterator::Signals};
use source::{SourceSpec, UsageError};
use tracing::{error, info, warn};

use super::{
    choice::Chosen,
    cli::{self, Parsed},
    config,
    flags::Command,
    settings,
};
use crate::{
    http::body::Vocabularies, http::web_config::watch::Watched, self_metrics::reload::Reload as State,
};

/// The flags that hold again after SIGHUP.
const READ_AGAIN: [&str; 7] = [
    "names",
    "names.dcgm-generation",
    "dcgm.collectors",
    "kubernetes.vendor-labels",
    "metrics.include",
    "metrics.exclude",
    "max-series",
];

/// What is needed to read the settings again.
pub struct Reload {
    /// The program's name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What that meant at the start.
    pub matches: ArgMatches,
    /// The sources.
    pub specs: Vec<SourceSpec>,
    /// What is printed.
    pub vocabularies: Arc<ArcSwap<Vocabularies>>,
    /// What of each family is exported.
    pub metrics: Chosen,
    /// The web configuration, where there is one.
    pub web_config: Option<Arc<Watched>>,
    /// How the file of settings was read, where there is one.
    pub state: Option<Arc<State>>,
}

impl Reload {
    /// Waits for the signal on a thread of its own: files may be on a disk that does not respond.
    ///
    /// # Errors
    /// The signal or the thread cannot be had.
    pub fn start(self) -> io::Result<()> {
        let mut signals = Signals::new([SIGHUP])?;
        let wait = move || signals.forever().for_each(|_| self.again());
        thread::Builder::new().name("reload".to_owned()).spawn(wait).map(drop)
    }

    fn again(&self) {
        if let Some(watched) = &self.web_config {
            watched.read_again();
        }
        // Built again and not kept: it takes a third of a megabyte.
        let program = cli::command(self.name, self.about, &self.specs);
        match self.read(&program) {
            Ok((vocabularies, matches)) => {
                self.metrics.set(&vocabularies);
                self.vocabularies.store(Arc::new(vocabularies));
                self.state.iter().for_each(|state| state.succeeded());
                let mut changed = config::changed(&program, &self.matches, &matches);
                changed.retain(|flag| !READ_AGAIN.contains(flag));
                if changed.is_empty() {
                    info!("settings read again");
                } else {
                    warn!("settings read again; a change of these needs a restart: {}", changed.join(", "));
                }
            }
            Err(error) => {
                self.state.iter().for_each(|state| state.failed());
                error!("{error}; the settings stay");
            }
        }
    }

    fn read(&self, program: &clap::Command) -> Result<(Vocabularies, ArgMatches), UsageError> {
        let not_served = || UsageError("the command line is no longer one that serves".to_owned());
        let Parsed::Run(command, matches, _) = cli::parse(program, &self.args)? else {
            return Err(not_served());
        };
        let Command::Serve(flags) = *command else { return Err(not_served()) };
        Ok((settings::vocabularies_again(&flags, &self.specs, &matches)?, matches))
    }
}
