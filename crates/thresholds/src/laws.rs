//! Laws over the data files: what no type can hold.

use std::collections::BTreeSet;

use naming::{Family, XID_CODES};

use crate::{
    catalogue::{BANDS, Catalogue},
    expr::{Name, names, resolve},
    model::{Alert, Severity, Signal},
    vocabulary::{PerVocabulary, Vocabulary},
};

fn catalogue() -> Catalogue {
    Catalogue::builtin().and_then(Catalogue::resolve).unwrap()
}

/// Every PromQL text of a signal: over unified names, and over dcgm-exporter's.
fn texts(signal: &Signal) -> (Vec<&String>, Vec<&String>) {
    let of = |vocabulary| {
        let texts = [signal.expr.get(vocabulary), signal.gate.get(vocabulary)].into_iter().flatten();
        texts.chain(signal.red_also.get(vocabulary).into_iter().flatten())
    };
    (
        of(Vocabulary::Unified)
            .chain(signal.exprs.values())
            .chain(&signal.red_when)
            .chain(&signal.amber_when)
            .collect(),
        of(Vocabulary::Dcgm).collect(),
    )
}

fn alert_texts(alert: &Alert) -> (Vec<&String>, Vec<&String>) {
    let of = |vocabulary| alert.expr.get(vocabulary).into_iter().collect();
    (of(Vocabulary::Unified), of(Vocabulary::Dcgm))
}

#[test]
fn every_metric_is_one_of_the_naming_catalogue_in_its_own_vocabulary() {
    let catalogue = catalogue();
    let all = catalogue.signals.iter().map(texts).chain(catalogue.alerts.iter().map(alert_texts));
    let mut seen = 0;
    for (unified, vendor) in all {
        for (name, _) in unified.iter().flat_map(|text| names(text)) {
            assert!(matches!(resolve(name, &[]), Ok(Name::Unified(_))), "{name}");
            seen += 1;
        }
        // A device that the unified schema shows too is left to it.
        for (name, _) in vendor.iter().flat_map(|text| names(text)).filter(|(name, _)| *name != "DEVICE_UP") {
            assert!(matches!(resolve(name, &catalogue.dcgm.fields), Ok(Name::Vendor(_))), "{name}");
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn no_data_file_spells_a_metric_of_ours() {
    for text in [
        include_str!("../catalogue/hardware.toml"),
        include_str!("../catalogue/health.toml"),
        include_str!("../catalogue/engines.toml"),
        include_str!("../catalogue/efficiency.toml"),
        include_str!("../catalogue/boards.toml"),
        include_str!("../catalogue/waste.toml"),
        include_str!("../catalogue/fleet.toml"),
        include_str!("../catalogue/alerts.toml"),
        include_str!("../catalogue/alerts_devices.toml"),
        include_str!("../catalogue/alerts_engine.toml"),
        include_str!("../catalogue/alerts_monitoring.toml"),
        include_str!("../catalogue/alerts_waste.toml"),
        include_str!("../catalogue/alerts_fleet.toml"),
        include_str!("../catalogue/alerts_backends.toml"),
        include_str!("../catalogue/xid.toml"),
        include_str!("../catalogue/events.toml"),
        include_str!("../catalogue/procedures.toml"),
    ] {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            for prefix in ["accel_", "accelscope_", "DCGM_"] {
                let spelt = line.match_indices(prefix).any(|(at, _)| !line[..at].ends_with(['$', ':', '&']));
                // A label may say which field is missing.
                assert!(!spelt || line.starts_with("citation") || line.contains("field"), "{line}");
            }
        }
    }
}

#[test]
fn names_are_unique_and_bands_in_order() {
    let catalogue = catalogue();
    let ids: BTreeSet<_> = catalogue.signals.iter().map(|signal| &signal.id).collect();
    let alerts: BTreeSet<_> = catalogue.alerts.iter().map(|alert| &alert.name).collect();
    assert_eq!((ids.len(), alerts.len()), (catalogue.signals.len(), catalogue.alerts.len()));
    for signal in &catalogue.signals {
        let bands: Vec<_> = BANDS.iter().filter_map(|band| Some((band, signal.bounds.get(*band)?))).collect();
        for (band, bound) in &bands {
            assert_eq!(bound.op.rises(), !band.starts_with("low"), "{} {band}", signal.id);
        }
        assert!(bands.windows(2).all(|pair| pair[0].1.number() < pair[1].1.number()), "{}", signal.id);
        assert!(signal.why.len() > 10 && signal.citation.len() > 5, "{}", signal.id);
        assert!(bands.is_empty() || !signal.first.is_empty(), "{}: what to do first?", signal.id);
    }
}

#[test]
fn xids_are_listed_once_and_known() {
    let catalogue = catalogue();
    let codes: Vec<_> = catalogue.xids.iter().flat_map(|entry| &entry.codes).collect();
    let unique: BTreeSet<_> = codes.iter().collect();
    assert_eq!(unique.len(), codes.len());
    assert!(codes.iter().all(|code| XID_CODES.iter().any(|(known, _)| known == *code)));
}

#[test]
fn every_family_has_every_procedure_that_its_alerts_need() {
    let catalogue = catalogue();
    let families: BTreeSet<_> = Family::ALL.map(Family::name).into();
    for procedure in &catalogue.procedures {
        let unknown = procedure.families.keys().find(|family| !families.contains(family.as_str()));
        assert_eq!(unknown, None, "{}", procedure.id);
        assert!(!procedure.all.is_empty(), "{}", procedure.id);
    }
    // Whoever is woken for a device must find it first.
    let wakes = |alert: &&Alert| alert.severity == Severity::Critical && !alert.families.is_empty();
    for alert in catalogue.alerts.iter().filter(wakes) {
        assert!(alert.runbook.procedures.iter().any(|id| id == "identify"), "{}", alert.name);
    }
}

/// Commands stand in the procedures alone, where each family has its own and their order is kept.
#[test]
fn runbooks_reset_nothing_by_themselves() {
    for alert in &catalogue().alerts {
        for action in &alert.runbook.actions {
            let commands = ["gpu-reset", "kubectl drain", "kubectl cordon", "bug-report", "dcgmi diag"];
            assert!(!commands.iter().any(|command| action.contains(command)), "{}: {action}", alert.name);
        }
    }
}

/// Whoever runs dcgm-exporter can confirm each alert that its names raise.
#[test]
fn alerts_over_dcgm_exporter_have_a_query_for_it() {
    let catalogue = catalogue();
    for alert in catalogue.alerts.iter().filter(|alert| alert.expr.get(Vocabulary::Dcgm).is_some()) {
        let readable = |query: &PerVocabulary<String>| {
            let unified = query.get(Vocabulary::Unified).is_some_and(|text| names(text).next().is_none());
            unified || query.get(Vocabulary::Dcgm).is_some()
        };
        assert!(alert.runbook.confirm.iter().any(|(query, _)| readable(query)), "{}", alert.name);
    }
}
