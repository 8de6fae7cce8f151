//! Signals, bands and alerts, each written once with its reason. Rule files, their tests, runbooks and
//! dashboards are generated from them.
//!
//! This crate is pure: the catalogue is compiled in, [`generate`] returns paths and texts, and the caller
//! writes them. A bound that an [`Overrides`] changes moves every file that shows it.

#![forbid(unsafe_code)]

mod backends;
mod catalogue;
mod dashboards;
mod engines;
mod expr;
mod federation;
mod judge;
mod model;
mod number;
mod output;
mod overrides;
mod plan;
mod prices;
mod prove;
mod relabel;
mod ruleset;
mod runbook;
mod selection;
mod slo;
mod texts;
mod vocabulary;

use catalogue::Catalogue;
use relabel::Relabel;

pub use backends::{BackendsError, backends};
pub use dashboards::BandPanel;
pub use judge::{
    Facts, Finding, Health, HealthReason, Judge, Point, Presence, REASONS, State, WINDOW_SECONDS, Watched,
    actions,
};
pub use overrides::{Overrides, OverridesError};

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rule files: `alerts/NAME.yaml` and `alerts/global/NAME.yaml`, or `alerts/operator/NAME.yaml`.
    Rules,
    /// promtool unit tests of the rule files: `tests/NAME_test.yaml` in the same folder.
    Tests,
    /// A page per alert: `docs/runbooks/ALERT.md`.
    Runbooks,
    /// Dashboards for Grafana, `dashboards/NAME.json`, and the page that lists them, `docs/dashboards.md`.
    Dashboards,
    /// What a centre needs from each site: `examples/federation/` and `docs/federation.md`.
    Federation,
}

impl Kind {
    /// Every kind, in the order of documents.
    pub const ALL: [Self; 5] = [Self::Rules, Self::Tests, Self::Runbooks, Self::Dashboards, Self::Federation];

    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Tests => "tests",
            Self::Runbooks => "runbooks",
            Self::Dashboards => "dashboards",
            Self::Federation => "federation",
        }
    }
}

/// Which names hardware rules read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// The unified schema, every family.
    Unified,
    /// Stock dcgm-exporter.
    Vendor,
    /// Files for either; load one of them.
    #[default]
    Both,
}

/// Where rules are evaluated. No alert and no recording is at both levels, so that nobody is paged twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Where the exporters are scraped: `alerts/`. It pages locally.
    Site,
    /// Over the recordings of many sites: `alerts/global/`. It pages for what a site cannot say of itself.
    Global,
}

impl Level {
    /// The folder of its rule files.
    const fn folder(self) -> &'static str {
        match self {
            Self::Site => "alerts",
            Self::Global => "alerts/global",
        }
    }

    /// Whether a generated file belongs to it.
    pub fn has(self, file: &File) -> bool {
        let is_global = file.0.starts_with("alerts/global/") || file.0.starts_with("alerts/operator/global-");
        is_global == (self == Self::Global)
    }
}

/// In which form rules are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A rule file of Prometheus.
    #[default]
    Prometheus,
    /// A `PrometheusRule` of the Prometheus Operator.
    Operator,
}

/// A path from the root of the repository, and what the file there says.
pub type File = (String, String);

/// The committed wrong rules, kept so that a test shows each of them failing where ours are right.
const WRONG: [(&str, &str); 2] = [
    ("alerts/tests/wrong/rules.yaml", include_str!("../catalogue/wrong_rules.yaml")),
    ("alerts/tests/wrong/wrong_test.yaml", include_str!("../catalogue/wrong_test.yaml")),
];

/// Every file of a kind.
///
/// # Panics
/// When the catalogue that is compiled in breaks its own laws, which its tests exclude.
pub fn generate(kind: Kind, overrides: &Overrides, names: Names, format: Format) -> Vec<File> {
    try_generate(kind, overrides, names, format).expect("the catalogue keeps its laws")
}

/// Which panel of which dashboard shows the bands of which signal, and how.
///
/// # Panics
/// As [`generate`].
pub fn band_panels(overrides: &Overrides) -> Vec<BandPanel> {
    let panels = || {
        let mut catalogue = resolved(overrides)?;
        slo::extend(&mut catalogue)?;
        dashboards::files(&catalogue).map(|(_, panels)| panels)
    };
    panels().expect("the catalogue keeps its laws")
}

fn resolved(overrides: &Overrides) -> Result<Catalogue, String> {
    let mut catalogue = Catalogue::builtin()?;
    overrides.apply(&mut catalogue)?;
    catalogue.resolve()
}

fn try_generate(
    kind: Kind,
    overrides: &Overrides,
    names: Names,
    format: Format,
) -> Result<Vec<File>, String> {
    let mut catalogue = resolved(overrides)?;
    if kind == Kind::Runbooks {
        let relabel = Relabel::of(&catalogue);
        let pages = runbook::pages(&catalogue)?;
        return Ok(pages.into_iter().map(|(path, text)| (path, relabel.page(&text))).collect());
    }
    slo::extend(&mut catalogue)?;
    if kind == Kind::Federation {
        return federation::files(&catalogue);
    }
    catalogue.split_levels();
    catalogue.split_parts();
    if kind == Kind::Dashboards {
        let relabel = Relabel::of(&catalogue);
        let (files, _) = dashboards::files(&catalogue)?;
        return files.into_iter().map(|(path, text)| Ok((path, relabel.dashboard(text)?))).collect();
    }
    let mut files = Vec::new();
    let relabel = Relabel::of(&catalogue);
    for mut file in plan::build(&catalogue, names)? {
        let (name, folder) = (file.name, file.level.folder());
        files.push(match (kind, format) {
            (Kind::Tests, _) => {
                let mut tests = prove::test_file(&catalogue, &file)?;
                relabel.tests(&mut tests);
                (format!("{folder}/tests/{name}_test.yaml"), output::yaml(&tests)?)
            }
            (_, Format::Prometheus) => {
                relabel.rules(&mut file.rules);
                (format!("{folder}/{name}.yaml"), output::yaml(&file.rules)?)
            }
            (_, Format::Operator) => {
                relabel.rules(&mut file.rules);
                let level = if file.level == Level::Global { "global-" } else { "" };
                let name = format!("{level}{name}");
                let text = output::operator(&name, &file.rules, &catalogue.operator)?;
                (format!("alerts/operator/{name}.yaml"), text)
            }
        });
    }
    // The wrong rules are about dcgm-exporter's names.
    if kind == Kind::Tests && names != Names::Unified {
        files.extend(WRONG.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }
    Ok(files)
}

#[cfg(test)]
mod laws;
