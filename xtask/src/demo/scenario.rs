//! An incident on the machines of the demo: what happens, where to look, and proof that it was seen.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{Node, Prometheus, eventually_within, http, wait::Final};
use sim::{
    Control,
    control::{Heat, Memory, Recovery, RecoveryAction, Xid},
};

use super::Stop;

/// The machine on which it happens.
pub const MACHINE: &str = "h100-sxm-8";

/// How long each step can be looked at once it was seen; `--speed` divides it.
const PAUSE: Duration = Duration::from_secs(14);

/// Any step is seen sooner, or it is not seen at all.
const CEILING: Duration = Duration::from_mins(2);

/// Its alerts.
const ALERTS: &str = "GpuHbmNearOom|GpuThermalOrPowerThrottle|GpuXidErrorDetected";

/// One thing that happens.
struct Step {
    title: &'static str,
    /// What to look at on the page of the node.
    page: &'static str,
    /// What is changed in the control file of the machine.
    change: fn(&mut Control),
    /// The body of a call that switches incident mode.
    incident: Option<&'static str>,
    /// What Prometheus must see: what it is, and a query that then has a result.
    seen: &'static [(&'static str, &'static str)],
}

/// Every step but the first, which is that nothing is wrong.
const STEPS: [Step; 5] = [
    Step {
        title: "The memory of gpu1 fills",
        page: "the tile of gpu1: memory at its limit, CRIT",
        change: |control| control.memory.push(Memory { device: 1, fill: 0.97 }),
        incident: None,
        seen: &[
            ("more than 92 % of its memory is used", r#"accel:memory_used:ratio{device="gpu1",NODE} > 0.92"#),
            (
                "GpuHbmNearOom fires",
                r#"ALERTS{alertname="GpuHbmNearOom",alertstate="firing",device="gpu1",NODE}"#,
            ),
        ],
    },
    Step {
        title: "gpu3 overheats and slows down",
        page: "the tile of gpu3: its temperature, and what holds the clocks down",
        change: |control| control.heat.push(Heat { device: 3, celsius: 60.0 }),
        incident: None,
        seen: &[
            (
                "heat holds its clocks down",
                r#"accel_throttle_active{reason=~".*thermal|hw_slowdown",device="gpu3",NODE} == 1"#,
            ),
            (
                "GpuThermalOrPowerThrottle fires",
                r#"ALERTS{alertname="GpuThermalOrPowerThrottle",alertstate="firing",device="gpu3",NODE}"#,
            ),
        ],
    },
    Step {
        title: "gpu5 reports XID 79: it has fallen off the bus",
        page: "the tile of gpu5: the error, its meaning and what to do",
        change: |control| {
            control.xid.push(Xid { id: 1, device: 5, code: 79, ..Xid::default() });
            control.recovery.push(Recovery { device: 5, action: RecoveryAction::Reboot });
        },
        incident: None,
        seen: &[
            ("the error is counted", r#"accel_errors_total{kind="xid",code="79",device="gpu5",NODE} == 1"#),
            (
                "GpuXidErrorDetected fires",
                r#"ALERTS{alertname="GpuXidErrorDetected",alertstate="firing",code="79",device="gpu5",NODE}"#,
            ),
        ],
    },
    Step {
        title: "Incident mode is switched on for the three: four samples a second",
        page: "the same tiles; every fine sample is at /debug/samples?device=gpu3&metric=accel_power_watts",
        change: |_| (),
        incident: Some(r#"{"for":"10m","devices":["gpu1","gpu3","gpu5"]}"#),
        seen: &[
            ("incident mode is on", "accelscope_incident_active{NODE} == 1"),
            (
                "three devices have highest and lowest power between scrapes",
                "count(accel_power_watts_max{NODE} > accel_power_watts_min{NODE}) == 3",
            ),
        ],
    },
    Step {
        title: "The node is repaired: memory is freed, gpu3 is cooled, gpu5 works again, incident mode ends",
        page: "all tiles are calm again",
        change: |control| *control = Control::default(),
        incident: Some(r#"{"for":"0s"}"#),
        seen: &[
            ("incident mode is off", "accelscope_incident_active{NODE} == 0"),
            ("no alert of the incident fires", CALM),
        ],
    },
];

const CALM: &str = r#"count(accel:memory_used:ratio{NODE}) == 8 unless on () ALERTS{alertname=~"ALERTNAMES",alertstate="firing",NODE}"#;

/// Plays the incident on a node and its exporter, and fails where a step was not seen.
pub fn play(
    node: &Node,
    exporter: SocketAddr,
    prometheus: &Prometheus,
    speed: f64,
    stop: &Stop,
) -> Result<()> {
    let start = Instant::now();
    println!("\n  Scenario: an incident on {MACHINE}\n");
    let say = |line: &str| {
        let seconds = start.elapsed().as_secs();
        println!("  {:>2}:{:02}  {line}", seconds / 60, seconds % 60);
    };
    say("Prometheus reads the node for the first time; nothing is wrong there");
    seen(prometheus, "the node is read, and no alert of the incident fires", CALM, stop)?;
    let mut control = Control::default();
    for (number, step) in (1..).zip(&STEPS) {
        let began = Instant::now();
        say(&format!("[{number}/{}] {}", STEPS.len(), step.title));
        println!("         look at http://{exporter}/  {}", step.page);
        println!("             and http://{}/alerts?search={MACHINE}", prometheus.address());
        (step.change)(&mut control);
        node.control(&control)?;
        if let Some(body) = step.incident {
            let json = [("Content-Type", "application/json")];
            http::post(exporter, "/-/incident", &json, body)?.ok().context("POST /-/incident")?;
        }
        for (what, query) in step.seen {
            seen(prometheus, what, query, stop)?;
            say(&format!("      seen after {:.0} s: {what}", began.elapsed().as_secs_f64()));
        }
        stop.sleep(PAUSE.div_f64(speed));
    }
    say("The incident is over");
    Ok(())
}

/// Waits until a query about the machine has a result.
fn seen(prometheus: &Prometheus, what: &str, query: &str, stop: &Stop) -> Result<()> {
    let query = query.replace("NODE", &format!("node=\"{MACHINE}\"")).replace("ALERTNAMES", ALERTS);
    eventually_within(CEILING, what, || {
        if stop.is_set() {
            return Err(Final("stopped".to_owned()).into());
        }
        ensure!(!prometheus.query(&query)?.is_empty(), "no result of {query}");
        Ok(())
    })
}
