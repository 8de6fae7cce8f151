//! The kernel's files of a machine's Intel GPUs: sysfs as xe and i915 lay it out in the release that the machine
//! runs, and below it `proc/` with the fdinfo of the processes that use them and `dev/dri` with the render nodes,
//! which are plain files here: the `ioctl` of `sim-level-zero` reads them.
//!
//! A fault of the control file that names a file (`energy1_input`, `temp*`) affects it: [`Files::afflict`].

use std::fmt::Display;

use crate::bus;
use crate::conditions::Effect;
use crate::kernel::Files;
use crate::live::Moment;
use crate::profile::{Sensor, Shown};

use super::{Gpu, NODE_MAGIC, TICKS_PER_SECOND};

/// Reasons for which every GT has a file.
const REASONS: [&str; 8] = ["pl1", "pl2", "pl4", "thermal", "prochot", "ratl", "vr_thermalert", "vr_tdc"];

/// Releases of the kernel that brought files of xe: the PMU, and the file that names all reasons.
const XE_PMU: (u32, u32) = (6, 15);
const XE_REASONS: (u32, u32) = (7, 0);

/// The first channel of a chip that measures one channel of memory.
const FIRST_MEMORY_CHANNEL: u32 = 6;

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
            let profile = moment.machine().profile();
            let (folder, release) = (bus::place(profile, &gpu.address()), profile.driver.release());
            let mut own = Files::default();
            Writer { files: &mut own, moment, gpu, folder, release }.card();
            own.afflict(|name| conditions.effect_on_file(name, device, now));
            files.extend(own);
        }
    }
    files
}

struct Writer<'a, 'm> {
    files: &'a mut Files,
    moment: &'a Moment<'m>,
    gpu: Gpu<'a>,
    /// The PCI function's.
    folder: String,
    /// The kernel's.
    release: (u32, u32),
}

impl Writer<'_, '_> {
    /// A file below the PCI function's folder.
    fn put(&mut self, path: &str, value: impl Display) {
        self.files.put(format!("{}/{path}", self.folder), value);
    }

    fn card(&mut self) {
        let index = self.gpu.device.index() as u32;
        let (card, render) = (self.gpu.facts.first_card + index, 128 + index);
        let (address, driver) = (self.gpu.address(), &self.gpu.facts.kernel_driver);
        let drivers = format!("bus/pci/drivers/{driver}");
        let root = "../".repeat(self.folder.matches('/').count() + 1);
        self.files.link(format!("{}/driver", self.folder), format!("{root}{drivers}"));
        self.files.link(format!("{drivers}/{address}"), format!("../../devices/{address}"));
        self.put(&format!("drm/card{card}/dev"), format_args!("226:{card}"));
        self.put(&format!("drm/renderD{render}/dev"), format_args!("226:{render}"));
        self.put("power/runtime_status", if self.gpu.asleep { "suspended" } else { "active" });
        self.put("power/control", &self.gpu.facts.runtime_power);
        self.put("power/autosuspend_delay_ms", self.gpu.facts.autosuspend_delay_ms);
        self.put("power_state", if self.gpu.asleep { "D3hot" } else { "D0" });
        self.pmu(driver, &address);
        if driver == "xe" {
            self.xe();
        } else {
            self.i915(&format!("drm/card{card}"));
        }
        if self.gpu.facts.integrated {
            self.rapl();
            self.link(&self.folder.clone(), bus::no_link());
        } else {
            // Between the card's switch and its GPU, whatever the slot does.
            self.link(&self.folder.clone(), bus::link(1, 1));
            let profile = self.moment.machine().profile();
            if let Some(slot) = bus::slot(profile, &address) {
                let pcie = &profile.device.pcie;
                self.link(&slot, bus::link(pcie.generation, pcie.width));
            }
            self.hwmon(driver);
        }
        self.clients(render);
        let node = [NODE_MAGIC, &self.gpu.memory_regions()].concat();
        self.files.bytes(format!("dev/dri/renderD{render}"), node);
    }

    fn link(&mut self, folder: &str, files: [(&'static str, String); 4]) {
        for (name, value) in files {
            self.files.put(format!("{folder}/{name}"), value);
        }
    }

    /// The PMU, as the driver names it. No kernel gives this number to one, so nothing is counted by it.
    fn pmu(&mut self, driver: &str, address: &str) {
        let address = address.replace(':', "_");
        let name = match driver {
            "i915" if self.gpu.facts.integrated => driver.to_owned(),
            "xe" if self.release < XE_PMU => return,
            _ => format!("{driver}_{address}"),
        };
        self.files.put(format!("bus/event_source/devices/{name}/type"), u32::MAX);
    }

    fn xe(&mut self) {
        let active = self.gpu.throttle();
        let all = if active.is_empty() { "none".to_owned() } else { active.join(" ") };
        // On parts with several tiles, each has its own GT and they are numbered through.
        let (tiles, own_media) = (self.gpu.facts.tiles, self.gpu.facts.media_max_megahertz.is_some());
        let mut gts: Vec<_> = (0..tiles).map(|tile| (tile, tile, 0, "rc")).collect();
        if tiles == 1 && own_media {
            gts.push((0, 1, 1, "mc"));
        }
        for (tile, number, gt, name) in gts {
            let (actual, most) = (self.gpu.clock_megahertz(gt), self.gpu.clock_max_megahertz(gt));
            let folder = format!("tile{tile}/gt{number}");
            self.put(&format!("{folder}/gtidle/name"), format_args!("gt{number}-{name}"));
            self.put(&format!("{folder}/gtidle/idle_residency_ms"), self.gpu.idle_milliseconds(gt));
            self.put(&format!("{folder}/freq0/act_freq"), actual);
            self.put(&format!("{folder}/freq0/rp0_freq"), most);
            self.put(&format!("{folder}/freq0/throttle/status"), u32::from(!active.is_empty()));
            if self.release >= XE_REASONS {
                self.put(&format!("{folder}/freq0/throttle/reasons"), &all);
            }
            for reason in REASONS {
                let flag = u32::from(active.contains(&reason));
                self.put(&format!("{folder}/freq0/throttle/reason_{reason}"), flag);
            }
            let classes = self.gpu.facts.engines.keys();
            for class in classes.filter(|class| !own_media || class.starts_with('v') == (gt == 1)) {
                self.put(&format!("{folder}/engines/{class}/preempt_timeout_us"), 640_000);
            }
        }
    }

    fn i915(&mut self, card: &str) {
        let active = self.gpu.throttle();
        for gt in 0..if self.gpu.facts.media_max_megahertz.is_some() { 2 } else { 1 } {
            let folder = format!("{card}/gt/gt{gt}");
            self.put(&format!("{folder}/rps_act_freq_mhz"), self.gpu.clock_megahertz(gt));
            self.put(&format!("{folder}/rps_RP0_freq_mhz"), self.gpu.clock_max_megahertz(gt));
            self.put(&format!("{folder}/rc6_residency_ms"), self.gpu.idle_milliseconds(gt));
            self.put(&format!("{folder}/throttle_reason_status"), u32::from(!active.is_empty()));
            for reason in REASONS {
                let flag = u32::from(active.contains(&reason));
                self.put(&format!("{folder}/throttle_reason_{reason}"), flag);
            }
        }
        self.put(&format!("{card}/gt_act_freq_mhz"), self.gpu.clock_megahertz(0));
        self.put(&format!("{card}/gt_RP0_freq_mhz"), self.gpu.clock_max_megahertz(0));
        for (class, count) in &self.gpu.facts.engines {
            for number in 0..*count {
                self.put(&format!("{card}/engine/{class}{number}/name"), format_args!("{class}{number}"));
            }
        }
    }

    fn hwmon(&mut self, driver: &str) {
        let chip = format!("hwmon/hwmon{}", 4 + self.gpu.device.index());
        self.put(&format!("{chip}/name"), driver);
        let facts = self.gpu.facts;
        for file in &facts.hwmon {
            let path = format!("{chip}/{}", file.name);
            match &file.shows {
                Shown::Text(text) => self.put(&path, text),
                Shown::Measured(sensor) => self.put(&path, self.measured(*sensor)),
            }
        }
        for channel in 0..facts.memory_channel_sensors {
            let path = format!("{chip}/temp{}", FIRST_MEMORY_CHANNEL + channel);
            self.put(&format!("{path}_label"), format_args!("vram_ch_{channel}"));
            self.put(&format!("{path}_input"), self.measured(Sensor::MemoryTemperature));
            self.put(&format!("{path}_crit"), 105_000);
            self.put(&format!("{path}_emergency"), 120_000);
        }
    }

    /// What a sensor shows now, in the unit of its file.
    fn measured(&self, sensor: Sensor) -> u64 {
        let (package, memory) = self.gpu.celsius();
        match sensor {
            Sensor::CardEnergy => self.gpu.energy_microjoules(),
            Sensor::PackageEnergy => self.gpu.package_energy_microjoules(),
            Sensor::PackageTemperature => (package * 1e3) as u64,
            Sensor::MemoryTemperature => (memory.unwrap_or(package) * 1e3) as u64,
            Sensor::Fan => self.gpu.fan_rpm().into(),
        }
    }

    /// The zones of the package and of the platform; the graphics are `uncore` there.
    fn rapl(&mut self) {
        let graphics = self.gpu.energy_microjoules();
        // The CPU beside it and the rest of the platform draw their own shares.
        let microjoules = |watts: f64| (self.gpu.uptime_seconds * watts * 1e6) as u64;
        let (cores, package) = (microjoules(4.5), graphics + microjoules(6.5));
        for (zone, name, energy) in [
            ("intel-rapl:0", "package-0", package),
            ("intel-rapl:0/intel-rapl:0:0", "core", cores),
            ("intel-rapl:0/intel-rapl:0:1", "uncore", graphics),
            ("intel-rapl:1", "psys", package + microjoules(9.0)),
        ] {
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
            ];
            let is_xe = facts.kernel_driver == "xe";
            let (host, own) = if is_xe { ("gtt", "vram0") } else { ("system0", "local0") };
            lines.push(format!("drm-resident-{host}:\t{} KiB", system >> 10));
            if !facts.integrated {
                lines.push(format!("drm-resident-{own}:\t{} KiB", video >> 10));
            }
            for (class, count) in &facts.engines {
                let busy = self.gpu.busy_seconds(class) * f64::from(*count);
                let ticks = |seconds: f64| (seconds * TICKS_PER_SECOND) as u64;
                if is_xe {
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
