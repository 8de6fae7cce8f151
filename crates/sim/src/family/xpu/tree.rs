//! The kernel's files of a machine's Intel GPUs: sysfs as xe and i915 lay it out (Linux 7.2), and below it
//! `proc/` with the fdinfo of the processes that use them and `dev/dri` with the render nodes, which are
//! plain files here: the `ioctl` of `sim-level-zero` reads them.
//!
//! A fault of the control file that names a file (`energy1_input`, `temp*`) affects it: [`Files::afflict`].

use std::fmt::Display;

use crate::bus;
use crate::conditions::Effect;
use crate::kernel::Files;
use crate::live::Moment;

use super::{Gpu, NODE_MAGIC, THROTTLE, TICKS_PER_SECOND};

/// Reasons for which every GT has a file.
const REASONS: [&str; 8] = ["pl1", "pl2", "pl4", "thermal", "prochot", "ratl", "vr_thermalert", "vr_tdc"];

/// PCIe speeds by generation.
const SPEEDS: [&str; 7] = ["2.5", "2.5", "5.0", "8.0", "16.0", "32.0", "64.0"];

/// The range of a RAPL counter, µJ.
const RAPL_RANGE_MICROJOULES: u64 = 262_143_328_850;

/// All files of the moment.
pub fn files(moment: &Moment<'_>) -> Files {
    let mut files = bus::marked(moment);
    files.put("proc/2/comm", "kthreadd");
    files.put("proc/sys/kernel/osrelease", &moment.machine().profile().driver.version);
    if moment.driver_epoch().is_none() {
        return files;
    }
    for gpu in moment.present().filter_map(|index| Gpu::of(moment, index)) {
        let (conditions, device, now) = (moment.conditions(), gpu.device.index(), moment.seconds());
        if conditions.effect("pci", Some(device), now) != Some(Effect::Lost) {
            let mut own = Files::default();
            Writer { files: &mut own, gpu, folder: bus::folder(&gpu.address()) }.card();
            own.afflict(|name| conditions.effect_on_file(name, device, now));
            files.extend(own);
        }
    }
    files
}

struct Writer<'a> {
    files: &'a mut Files,
    gpu: Gpu<'a>,
    /// The PCI function's.
    folder: String,
}

impl Writer<'_> {
    /// A file below the PCI function's folder.
    fn put(&mut self, path: &str, value: impl Display) {
        self.files.put(format!("{}/{path}", self.folder), value);
    }

    fn card(&mut self) {
        let index = self.gpu.device.index() as u32;
        let (card, render) = (self.gpu.facts.first_card + index, 128 + index);
        let (address, driver) = (self.gpu.address(), &self.gpu.facts.kernel_driver);
        let drivers = format!("bus/pci/drivers/{driver}");
        self.files.link(format!("{}/driver", self.folder), format!("../../drivers/{driver}"));
        self.files.link(format!("{drivers}/{address}"), format!("../../devices/{address}"));
        self.put(&format!("drm/card{card}/dev"), format_args!("226:{card}"));
        self.put(&format!("drm/renderD{render}/dev"), format_args!("226:{render}"));
        self.put("power/runtime_status", if self.gpu.asleep { "suspended" } else { "active" });
        self.put("power/control", &self.gpu.facts.runtime_power);
        self.put("power/autosuspend_delay_ms", self.gpu.facts.autosuspend_delay_ms);
        // No kernel gives this number to a PMU, so nothing is counted by it.
        let pmu = format!("bus/event_source/devices/xe_{}/type", address.replace(':', "_"));
        self.files.put(pmu, u32::MAX);
        if driver == "xe" {
            self.xe();
        } else {
            self.i915(&format!("drm/card{card}"));
        }
        if self.gpu.facts.integrated {
            self.rapl();
        } else {
            self.link();
            self.hwmon(driver);
        }
        self.clients(render);
        let node = [NODE_MAGIC, &self.gpu.memory_regions()].concat();
        self.files.bytes(format!("dev/dri/renderD{render}"), node);
    }

    fn link(&mut self) {
        let pcie = &self.gpu.device.facts().pcie;
        let speed = SPEEDS.get(pcie.generation as usize).unwrap_or(&"2.5");
        for which in ["current", "max"] {
            self.put(&format!("{which}_link_speed"), format_args!("{speed} GT/s PCIe"));
            self.put(&format!("{which}_link_width"), pcie.width);
        }
    }

    fn xe(&mut self) {
        let active = self.gpu.throttle();
        let all = if active.is_empty() { "none".to_owned() } else { active.join(" ") };
        // On parts with several tiles, each has its own GT and they are numbered through.
        let tiles = self.gpu.facts.tiles;
        let gts: Vec<_> = if tiles == 1 {
            vec![(0, 0, 0, "rc"), (0, 1, 1, "mc")]
        } else {
            (0..tiles).map(|tile| (tile, tile, 0, "rc")).collect()
        };
        for (tile, number, gt, name) in gts {
            let (actual, most) = (self.gpu.clock_megahertz(gt), self.gpu.clock_max_megahertz(gt));
            let folder = format!("tile{tile}/gt{number}");
            self.put(&format!("{folder}/gtidle/name"), format_args!("gt{number}-{name}"));
            self.put(&format!("{folder}/gtidle/idle_residency_ms"), self.gpu.idle_milliseconds(gt));
            self.put(&format!("{folder}/freq0/act_freq"), actual);
            self.put(&format!("{folder}/freq0/rp0_freq"), most);
            self.put(&format!("{folder}/freq0/throttle/reasons"), &all);
            for reason in REASONS {
                let flag = u32::from(active.contains(&reason));
                self.put(&format!("{folder}/freq0/throttle/reason_{reason}"), flag);
            }
            let classes = self.gpu.facts.engines.keys();
            for class in classes.filter(|class| class.starts_with('v') == (gt == 1)) {
                self.put(&format!("{folder}/engines/{class}/preempt_timeout_us"), 640_000);
            }
        }
    }

    fn i915(&mut self, card: &str) {
        let active = self.gpu.throttle();
        for gt in 0..2 {
            let folder = format!("{card}/gt/gt{gt}");
            self.put(&format!("{folder}/rps_act_freq_mhz"), self.gpu.clock_megahertz(gt));
            self.put(&format!("{folder}/rps_RP0_freq_mhz"), self.gpu.clock_max_megahertz(gt));
            self.put(&format!("{folder}/rc6_residency_ms"), self.gpu.idle_milliseconds(gt));
            for (reason, _) in THROTTLE {
                let flag = u32::from(active.contains(&reason));
                self.put(&format!("{folder}/throttle_reason_{reason}"), flag);
            }
        }
        for (class, count) in &self.gpu.facts.engines {
            for number in 0..*count {
                self.put(&format!("{card}/engine/{class}{number}/name"), format_args!("{class}{number}"));
            }
        }
    }

    fn hwmon(&mut self, driver: &str) {
        let chip = format!("hwmon/hwmon{}", 4 + self.gpu.device.index());
        let (package, memory) = self.gpu.celsius();
        let milli = |celsius: f64| (celsius * 1e3) as u64;
        let energy = self.gpu.energy_microjoules();
        let mut numbers = vec![
            ("energy1_input", energy),
            ("energy2_input", energy / 10 * 9),
            ("temp2_input", milli(package)),
        ];
        numbers.extend(memory.map(|memory| ("temp3_input", milli(memory))));
        numbers.extend(self.gpu.fan_rpm().map(|rpm| ("fan1_input", rpm.into())));
        for (name, value) in numbers {
            self.put(&format!("{chip}/{name}"), value);
        }
        for (limit, watts) in &self.gpu.facts.power_limits {
            self.put(&format!("{chip}/power1_{limit}"), (watts * 1e6) as u64);
        }
        for (name, text) in [
            ("name", driver),
            ("energy1_label", "card"),
            ("energy2_label", "pkg"),
            ("power1_label", "card"),
            ("temp2_label", "pkg"),
            ("temp3_label", "vram"),
        ] {
            self.put(&format!("{chip}/{name}"), text);
        }
    }

    /// The package's zones; the graphics are `uncore` there.
    fn rapl(&mut self) {
        let graphics = self.gpu.energy_microjoules();
        // The CPU beside it draws its own share.
        let package = graphics + (self.gpu.uptime_seconds * 6.5e6) as u64;
        for (zone, name, energy) in
            [("intel-rapl:0", "package-0", package), ("intel-rapl:0/intel-rapl:0:1", "uncore", graphics)]
        {
            let folder = format!("class/powercap/{zone}");
            let energy = energy % (RAPL_RANGE_MICROJOULES + 1);
            self.files.put(format!("{folder}/name"), name);
            self.files.put(format!("{folder}/max_energy_range_uj"), RAPL_RANGE_MICROJOULES);
            self.files.put(format!("{folder}/energy_uj"), energy);
        }
    }

    /// The processes on the GPU: each has it open, and its fdinfo reports how it uses the GPU.
    fn clients(&mut self, render: u32) {
        let facts = self.gpu.facts;
        for (client, process) in (1u32..).zip(self.gpu.device.processes()) {
            let (system, video) =
                if facts.integrated { (process.memory_bytes, 0) } else { (64 << 20, process.memory_bytes) };
            let mut lines = vec![
                format!("drm-driver:\t{}", facts.kernel_driver),
                format!("drm-client-id:\t{client}"),
                format!("drm-pdev:\t{}", self.gpu.address()),
                "drm-resident-system:\t0".to_owned(),
                format!("drm-resident-gtt:\t{} KiB", system >> 10),
                format!("drm-resident-vram0:\t{} KiB", video >> 10),
            ];
            for (class, count) in &facts.engines {
                let busy = self.gpu.busy_seconds(class) * f64::from(*count);
                let ticks = |seconds: f64| (seconds * TICKS_PER_SECOND) as u64;
                if facts.kernel_driver == "xe" {
                    let total = ticks(self.gpu.uptime_seconds);
                    lines.push(format!("drm-cycles-{class}:\t{}", ticks(busy)));
                    lines.push(format!("drm-total-cycles-{class}:\t{total}"));
                    lines.push(format!("drm-engine-capacity-{class}:\t{count}"));
                } else {
                    let class = i915_class(class);
                    lines.push(format!("drm-engine-{class}:\t{} ns", (busy * 1e9) as u64));
                    lines.push(format!("drm-engine-capacity-{class}:\t{count}"));
                }
            }
            let folder = format!("proc/{}", process.id);
            self.files.link(format!("{folder}/fd/9"), format!("../../../dev/dri/renderD{render}"));
            self.files.put(format!("{folder}/fdinfo/9"), lines.join("\n"));
        }
    }
}

/// i915's fdinfo spells its engine classes out.
fn i915_class(class: &str) -> &str {
    match class {
        "rcs" => "render",
        "ccs" => "compute",
        "bcs" => "copy",
        "vcs" => "video",
        "vecs" => "video-enhance",
        other => other,
    }
}
