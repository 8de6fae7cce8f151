//! The data files that are compiled in, and what an override file may change of them.

use std::collections::{BTreeMap, BTreeSet};

use naming::{DcgmGeneration, Family, vendor_names};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Catalogue, DOLLARS, Operator, PERIOD, RATE_WINDOW, Window};
use crate::{
    model::{Alert, Engine, ErrorCode, Procedure, Reason, Renamed, Signal, SloClass, XidAction},
    slo,
};

/// Signals of devices, and reasons to throttle.
const DEVICES: [(&str, &str); 2] = [
    ("hardware.toml", include_str!("../../catalogue/hardware.toml")),
    ("health.toml", include_str!("../../catalogue/health.toml")),
];
const SIGNALS: [(&str, &str); 5] = [
    ("engines.toml", include_str!("../../catalogue/engines.toml")),
    ("efficiency.toml", include_str!("../../catalogue/efficiency.toml")),
    ("boards.toml", include_str!("../../catalogue/boards.toml")),
    ("waste.toml", include_str!("../../catalogue/waste.toml")),
    ("fleet.toml", include_str!("../../catalogue/fleet.toml")),
];
const ALERTS: [(&str, &str); 7] = [
    ("alerts.toml", include_str!("../../catalogue/alerts.toml")),
    ("alerts_devices.toml", include_str!("../../catalogue/alerts_devices.toml")),
    ("alerts_engine.toml", include_str!("../../catalogue/alerts_engine.toml")),
    ("alerts_monitoring.toml", include_str!("../../catalogue/alerts_monitoring.toml")),
    ("alerts_waste.toml", include_str!("../../catalogue/alerts_waste.toml")),
    ("alerts_fleet.toml", include_str!("../../catalogue/alerts_fleet.toml")),
    ("alerts_backends.toml", include_str!("../../catalogue/alerts_backends.toml")),
];
const SLO: &str = include_str!("../../catalogue/slo.toml");
const XID: &str = include_str!("../../catalogue/xid.toml");
const EVENTS: &str = include_str!("../../catalogue/events.toml");
const PROCEDURES: &str = include_str!("../../catalogue/procedures.toml");
const DCGM: &str = include_str!("../../catalogue/dcgm.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalFile {
    #[serde(default)]
    engine: Vec<Engine>,
    #[serde(default)]
    reason: Vec<Reason>,
    signal: Vec<Signal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertFile {
    alert: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SloFile {
    class: Vec<SloClass>,
    window: Vec<Window>,
}

/// What the rules know of the fields of a stock dcgm-exporter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dcgm {
    /// Whether a bit of the mask of reasons to throttle is set, with `<bit>` for its value.
    pub bit: String,
    /// The same of one GPU, with `<reason>` for the reason's name.
    pub named_bit: String,
    /// A field that every GPU has, with labels that say which it is.
    pub witness: String,
    /// Fields that rules read and accelscope does not print.
    pub fields: Vec<String>,
    /// Fields with two names: of the file, those that accelscope does not print.
    pub renamed: Vec<Renamed>,
}

impl Dcgm {
    fn builtin() -> Result<Self, String> {
        let mut dcgm: Self = read("dcgm.toml", DCGM)?;
        let older = vendor_names().filter(|row| row.generation == Some(DcgmGeneration::V4_8));
        dcgm.renamed.extend(older.filter_map(|row| {
            let newer = row.other?;
            let factor = row.unit.per_base() / newer.unit.per_base();
            Some(Renamed { old: row.name.to_owned(), new: newer.name.to_owned(), factor })
        }));
        Ok(dcgm)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventFile {
    event: Vec<ErrorCode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcedureFile {
    procedure: Vec<Procedure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct XidFile {
    xid: Vec<XidAction>,
}

/// Reads a file of the catalogue. It goes through a tree, since the deserializer of TOML has the code of each type that
/// it fills several times: 300 KB of the program.
pub(crate) fn read<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, String> {
    let tree: serde_json::Value = toml::from_str(text).map_err(|error| format!("{name}: {error}"))?;
    serde_json::from_value(tree).map_err(|error| format!("{name}: {error}"))
}

/// What is said of single devices, without rules: a small part of the catalogue, quick to read.
pub(crate) struct DeviceFiles {
    pub signals: Vec<Signal>,
    pub reasons: Vec<Reason>,
    pub xids: Vec<XidAction>,
    pub events: Vec<ErrorCode>,
}

impl DeviceFiles {
    pub fn read() -> Result<Self, String> {
        let (mut signals, mut reasons) = (Vec::new(), Vec::new());
        for (name, text) in DEVICES {
            let file = read::<SignalFile>(name, text)?;
            signals.extend(file.signal);
            reasons.extend(file.reason);
        }
        let xids = read::<XidFile>("xid.toml", XID)?.xid;
        let events = read::<EventFile>("events.toml", EVENTS)?.event;
        Ok(Self { signals, reasons, xids, events })
    }
}

/// Every alert, before overrides.
pub(crate) fn alerts() -> Result<Vec<Alert>, String> {
    let mut alerts = Vec::new();
    for (name, text) in ALERTS {
        alerts.extend(read::<AlertFile>(name, text)?.alert);
    }
    Ok(alerts)
}

impl Catalogue {
    /// The catalogue that is compiled in; its references are not resolved yet, so that overrides come first.
    pub fn builtin() -> Result<Self, String> {
        let DeviceFiles { mut signals, reasons, xids, events } = DeviceFiles::read()?;
        let mut engines = Vec::new();
        for (name, text) in SIGNALS {
            let file = read::<SignalFile>(name, text)?;
            signals.extend(file.signal);
            engines.extend(file.engine);
        }
        let alerts = alerts()?;
        let SloFile { class, window } = read("slo.toml", SLO)?;
        let jobs = [
            ("accelscope", ".*accelscope.*"),
            ("exporter", ".*(accelscope|gpu|hpu|xpu|npu).*"),
            ("dcgm", ".*dcgm.*"),
        ];
        Ok(Self {
            signals,
            engines,
            alerts,
            classes: class,
            windows: window,
            xids,
            events,
            procedures: read::<ProcedureFile>("procedures.toml", PROCEDURES)?.procedure,
            dcgm: Dcgm::builtin()?,
            families: Family::ALL.to_vec(),
            slis: slo::SLIS.to_vec(),
            reasons,
            period: PERIOD,
            prices: BTreeMap::new(),
            model_prices: Vec::new(),
            token_prices: Vec::new(),
            currency: DOLLARS.to_owned(),
            device_models: Vec::new(),
            left_out: BTreeSet::new(),
            node_label: "node".to_owned(),
            tenant_label: "tenant".to_owned(),
            severities: BTreeMap::new(),
            operator: Operator::default(),
            jobs: jobs.map(|(job, pattern)| (job.to_owned(), pattern.to_owned())).into(),
            labels: BTreeMap::new(),
            runbook_prefix: "https://github.com/accelscope/accelscope/blob/main/docs/runbooks/".to_owned(),
            dashboard_prefix: "/d/".to_owned(),
            scrape_interval: None,
            rate_window: RATE_WINDOW,
        })
    }
}
