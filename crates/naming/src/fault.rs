//! Why a value is absent: the four kinds, and every code that accelscope itself gives, each with its meaning
//! and what a reader can do about it.
//!
//! A vendor's own return codes (`NVML_ERROR_UNKNOWN`) and the kernel's ([`Errno`](crate::Errno)) are passed on as
//! they are and are not listed here.

/// The four ways in which a value can be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Absence {
    /// This device, driver or mode does not have the quantity; a normal state.
    Unsupported,
    /// The quantity exists but has no usable value now: a first sample, a blank, a value out of range.
    NoData,
    /// The call returned an error.
    Failed,
    /// The call did not return within its deadline.
    TimedOut,
}

impl Absence {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Unsupported, Self::NoData, Self::Failed, Self::TimedOut];

    /// The `kind` label of the fault counter, and the word in `probe`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::NoData => "no_data",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        }
    }
}

macro_rules! fault_codes {
    ($($absence:ident { $($variant:ident = $name:literal, $meaning:literal, $action:literal;)* })*) => {
        /// A code that accelscope gives to an absent value: the check that refused it, or what is missing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum FaultCode {
            $($(#[doc = $meaning] $variant,)*)*
        }

        impl FaultCode {
            /// Every code, by kind of absence.
            pub const ALL: &[Self] = &[$($(Self::$variant,)*)*];

            /// The `code` label of the fault counter.
            pub const fn name(self) -> &'static str {
                const NAMES: &[&str] = &[$($($name,)*)*];
                NAMES[self as usize]
            }

            /// Which kind of absence it is.
            pub const fn absence(self) -> Absence {
                const ABSENCES: &[Absence] = &[$($({ let _ = $name; Absence::$absence },)*)*];
                ABSENCES[self as usize]
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                const MEANINGS: &[&str] = &[$($($meaning,)*)*];
                MEANINGS[self as usize]
            }

            /// What a reader can do, in one sentence.
            pub const fn what_to_do(self) -> &'static str {
                const ACTIONS: &[&str] = &[$($($action,)*)*];
                ACTIONS[self as usize]
            }
        }
    };
}

fault_codes! {
    Unsupported {
        DeviceWithoutGpm = "device_without_gpm",
            "The GPU has no GPU performance monitoring (GPM), which begins with Hopper.",
            "Nothing; use the coarse utilization of this GPU.";
        HealthNotReported = "health_not_reported",
            "The fabric reports no health for this GPU.",
            "Nothing on a system without NVSwitch fabric; otherwise update the driver.";
        InsideTheCard = "inside_the_card",
            "The PCIe link belongs to a switch inside the card, not to the slot.",
            "Nothing; in a virtual machine the link of the slot is not visible.";
        Integrated = "integrated",
            "An integrated GPU has no memory, sensors, fan or PCIe link of its own.",
            "Nothing.";
        LeftAlone = "left_alone_to_sleep",
            "The idle GPU is not read for a while, so that runtime power management can suspend it.",
            "Nothing; use --xpu.hold-awake if values matter more than power.";
        LibraryMissing = "library_missing",
            "The vendor's library is not installed, so only kernel files are read.",
            "Install the vendor's library or name it with its --library flag.";
        NeedsCapDacReadSearch = "needs_cap_dac_read_search",
            "Only root may read this kernel file.",
            "Grant CAP_DAC_READ_SEARCH.";
        NeedsCapPerfmon = "needs_cap_perfmon",
            "The kernel gives this number only to privileged processes.",
            "Grant CAP_PERFMON.";
        NeedsGroupRender = "needs_group_render",
            "The render node cannot be opened.",
            "Add the user to the group that owns /dev/dri/renderD*, usually render.";
        NeedsHoldAwake = "needs_xpu_hold_awake",
            "Reading this would keep an idle GPU awake.",
            "Start with --xpu.hold-awake if values matter more than power.";
        NeedsHostPidNamespace = "needs_host_pid_namespace",
            "Processes of the host are hidden from this container, so their number, the load of their GPU work and who has a device open are unknown.",
            "Run the container in the host's PID namespace (hostPID: true).";
        NeedsPtrace = "needs_cap_sys_ptrace_and_dac_read_search",
            "Open files of other users' processes cannot be read, so the load of their GPU work and who has a device open are unknown.",
            "Grant CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.";
        NeedsIntPlnEnable = "needs_int_pln_enable",
            "The kernel counts how often the power limit was reached only when booted with int_pln_enable.",
            "Boot with int_pln_enable if this count matters; the share of the limit is reported anyway.";
        NeedsRoot = "needs_root",
            "Level Zero gives this value only to root.",
            "Run as root, or use the values that kernel files give.";
        NeedsXpuBackend = "needs_xpu_backend",
            "This run is restricted to kernel files by --xpu.backend.",
            "Leave --xpu.backend out.";
        NoAmx = "no_amx",
            "The CPU has no AMX units, or the kernel or hypervisor hides them.",
            "Nothing on a CPU without AMX; otherwise expose AMX to this machine.";
        NoBandwidthCounter = "no_bandwidth_counter",
            "The driver counts no bytes on the PCIe link.",
            "Nothing.";
        NoClient = "no_client",
            "The fdinfo text of an open file of the GPU is not that of a DRM client, so the load of its process is unknown.",
            "Update the kernel if it lasts.";
        NoCorePmu = "no_core_pmu",
            "The kernel shows no performance monitoring unit for CPU cores.",
            "In a virtual machine, let the hypervisor pass the PMU through.";
        NoEngineEvent = "no_engine_event",
            "The GPU driver's PMU has no events for engines.",
            "Update the kernel; xe counts engines from Linux 6.11 on.";
        NoEngineTime = "no_engine_time",
            "The driver reports no engine time for this client.",
            "Update the kernel; xe reports it from Linux 6.11 on.";
        NoFan = "no_fan",
            "The device has no fan of its own.",
            "Nothing.";
        NoGt = "no_gt",
            "The driver shows no graphics tile (GT) for the device.",
            "Update the kernel.";
        NoLabel = "no_label",
            "The sensors have no labels, so it is unknown which is which.",
            "Update the driver.";
        NoMaximum = "no_maximum",
            "The device reports no maximum to compare with.",
            "Nothing.";
        NoNvlink = "no_nvlink",
            "The GPU has no NVLink.",
            "Nothing.";
        NoPublishedEvent = "no_published_event",
            "Intel has published no event that counts this on the CPU model.",
            "Nothing.";
        NoReplayCounter = "no_replay_counter",
            "The driver counts no PCIe replays.",
            "Nothing.";
        NoResidentMemory = "no_resident_memory",
            "The driver reports no resident memory for this client.",
            "Update the kernel.";
        NoSensor = "no_sensor",
            "The device has no such sensor.",
            "Nothing.";
        NoUncoreImc = "no_uncore_imc",
            "The kernel shows no counters of the memory controllers.",
            "Load the module intel_uncore; in a virtual machine there are none.";
        NoVideoMemory = "no_video_memory",
            "The device reports no memory of its own.",
            "Nothing.";
        None = "none",
            "The driver lists no component of this kind.",
            "Nothing.";
        NotAsked = "not_asked",
            "This value is not read in this configuration.",
            "Nothing.";
        NotListed = "not_listed",
            "Level Zero is open and does not list this device.",
            "Install the release of intel-level-zero-gpu that knows this part, and let accelscope open /dev/dri.";
        NotOpen = "not_open",
            "Level Zero is not open.",
            "See the log line about Level Zero, or run accelscope probe.";
        ReleaseUnknown = "release_unknown",
            "The layout of this struct in the installed library release is unknown.",
            "Report the version of the library to accelscope.";
        SymbolMissing = "symbol_missing",
            "The installed library does not have this function.",
            "Update the driver or library if the value is needed.";
        VirtualFunctions = "virtual_functions",
            "Guests use virtual functions of the GPU, and what they do there is not visible on the host.",
            "Read the load in the guests.";
        UnknownGuid = "unknown_guid",
            "The SoC's telemetry has a layout that this release of accelscope does not know.",
            "Update accelscope.";
        UnknownModel = "unknown_model",
            "The CPU model is newer than this release of accelscope.",
            "Update accelscope.";
    }
    NoData {
        AboveMaximum = "above_maximum",
            "The number is higher than the limit, clock or link that the device itself reports allows.",
            "Nothing if it passes; otherwise update the driver.";
        Blank = "blank",
            "The call succeeded and returned the vendor's placeholder for a missing number.",
            "Nothing if it passes; otherwise update the driver.";
        CounterFell = "counter_fell",
            "A counter fell since the last reading, and the next one shows whether it was reset.",
            "Nothing if it passes; otherwise update the driver.";
        CounterStands = "counter_stands",
            "A counter that always rises stood still, so the sensor does not measure now.",
            "Nothing if it passes; otherwise update the driver or firmware.";
        CounterWrapsTooFast = "counter_wraps_too_fast",
            "The counter has 32 bits and wraps faster than it is read.",
            "Update the driver.";
        Disabled = "disabled",
            "The limit or sensor is switched off.",
            "Nothing.";
        DriverAppeared = "driver_appeared",
            "The kernel driver was loaded while the exporter ran, and its devices are opened again.",
            "Nothing.";
        Empty = "empty",
            "The text or file is empty.",
            "Nothing if it passes; otherwise update the driver.";
        FirstReading = "first_reading",
            "The value needs two readings and there is only one.",
            "Nothing; the next reading gives a value.";
        Garbage = "garbage",
            "The text cannot be read as a value.",
            "Report it with the content of the file or the version of the library.";
        LibraryAppeared = "library_appeared",
            "The vendor's library was installed while the exporter ran, and the device is opened again.",
            "Nothing.";
        LinkWithoutSpeed = "link_without_speed",
            "The link is up and reports a speed of 0.",
            "Nothing if it passes; otherwise update the driver.";
        MoreThanPossible = "more_than_possible",
            "The driver reports more components or devices than such hardware can have.",
            "Nothing if it passes; otherwise update the driver.";
        NotACount = "not_a_count",
            "The number is negative or has a fraction where a count is expected.",
            "Update the driver.";
        NotFinite = "not_finite",
            "The call succeeded and returned no number (NaN) or an infinite one.",
            "Nothing if it passes; otherwise update the driver.";
        NotRegistered = "not_registered",
            "The device has not completed its registration with the fabric manager.",
            "Nothing if it passes; otherwise look at the fabric manager and at accel_fabric_state.";
        NotReturned = "not_returned",
            "The call returned fewer values than were asked for.",
            "Update the driver.";
        NotRunning = "not_running",
            "The perf events were not counted in the last interval.",
            "End other users of the CPU's performance counters.";
        NotScheduled = "not_scheduled",
            "The perf events do not fit on the CPU's counters now.",
            "End other users of the CPU's performance counters, such as the NMI watchdog.";
        NoCpu = "no_cpu",
            "No CPU of the socket can be read.",
            "Bring a CPU of the socket online.";
        NoSingleEngine = "no_single_engine",
            "The driver reports only groups of engines, which do not tell one engine's load.",
            "Nothing.";
        NoTime = "no_time",
            "No time passed between two readings.",
            "Nothing; the next reading gives a value.";
        NoUnhaltedCycles = "no_unhalted_cycles",
            "All cores of the socket were halted in the last interval.",
            "Nothing.";
        OtherDies = "other_dies",
            "The sensors belong to several dies and cannot be told apart.",
            "Nothing.";
        OutOfRange = "out_of_range",
            "The number lies outside of what the quantity can be.",
            "Nothing if it passes; otherwise update the driver.";
        Over100Percent = "over_100_percent",
            "The percentage is over 100.",
            "Nothing if it passes; otherwise update the driver.";
        Over200Celsius = "over_200_celsius",
            "The temperature is over 200 degrees Celsius, which no sensor of these parts survives.",
            "Nothing if it passes; otherwise update the driver or firmware.";
        Over200Percent = "over_200_percent",
            "The percentage is over 200.",
            "Nothing if it passes; otherwise update the driver.";
        Over20Gigahertz = "over_20_gigahertz",
            "The clock is over 20 GHz.",
            "Nothing if it passes; otherwise update the driver.";
        RoseTooFast = "rose_too_fast",
            "A counter rose by more than the device can count in the time that passed, by its limit, link or clock.",
            "Nothing if it passes; otherwise update the driver.";
        Short = "short",
            "The answer of the driver is shorter than its format.",
            "Update the driver.";
        SizesDisagree = "sizes_disagree",
            "Total, used and free memory contradict each other.",
            "Nothing if it passes; otherwise update the driver.";
        TooLong = "too_long",
            "The file is longer than its format.",
            "Report it with the path of the file.";
        TornRead = "torn_read",
            "The number changed while it was read.",
            "Nothing; the next reading gives a value.";
        Under60BelowZero = "under_60_below_zero",
            "The temperature is below -60 degrees Celsius.",
            "Nothing if it passes; otherwise update the driver or firmware.";
        Unknown = "unknown",
            "The driver reports that it does not know the value.",
            "Nothing.";
        UnknownGeneration = "unknown_generation",
            "The PCIe link has a speed that no known generation has.",
            "Update accelscope if the generation is new.";
        UnknownState = "unknown_state",
            "The driver reports a state that this release of accelscope does not know.",
            "Update accelscope.";
        UuidNotUnique = "uuid_not_unique",
            "The driver reports no UUID for the device, one of zeros, or that of another device, so its PCI address identifies it.",
            "Update the driver or the board's firmware.";
        Zero = "zero",
            "The driver reports 0 where 0 stands for no value.",
            "Nothing.";
    }
    Failed {
        BadString = "bad_string",
            "The library returned a text that is not UTF-8 or has no end.",
            "Update the driver.";
        DriverUnloaded = "driver_unloaded",
            "The kernel driver was unloaded.",
            "Load the driver; devices return by themselves.";
        DuplicateKey = "duplicate_key",
            "Two devices of the driver's list have the same identity, and one of them is left out.",
            "Update the driver or the board's firmware.";
        HelperGarbled = "helper_garbled",
            "The process that calls the vendor's library closed its connection or sent what cannot be read, as after the library overwrote memory that is not its own.",
            "Update the driver or library; the process is started again by itself.";
        IdentityChanged = "identity_changed",
            "Another device stands where this one was.",
            "Nothing; the new device is found by itself.";
        InCreation = "in_creation",
            "The driver is still bringing the device up.",
            "Wait.";
        InReset = "in_reset",
            "The driver is resetting the device.",
            "Wait.";
        InResetAfterRelease = "in_reset_after_release",
            "The driver is resetting the device after its user released it.",
            "Wait.";
        LibraryCrashed = "library_crashed",
            "The vendor's library crashed, which ended the process that calls it.",
            "Update the driver or library; the process is started again by itself.";
        LibraryExited = "library_exited",
            "The vendor's library ended the process that calls it.",
            "Update the driver or library; the process is started again by itself.";
        NeedsReset = "needs_reset",
            "The device works again only after a reset.",
            "Drain the node and reset the device.";
        NotGrpc = "not_grpc",
            "What listens on the socket does not speak gRPC, or broke off within a response.",
            "See the log of the kubelet, and whether the socket is the kubelet's.";
        NotTheMessage = "not_the_message",
            "The response is not the message that the interface defines.",
            "Report it with the version of the kubelet.";
        NoThread = "no_thread",
            "The operating system gave no thread for the device.",
            "Raise the limit of threads (TasksMax, pids.max).";
        Offline = "offline",
            "All CPUs of the socket are offline.",
            "Bring them online.";
        OverSizeLimit = "over_size_limit",
            "The response is larger than any that a node's kubelet can have.",
            "See whether the socket is the kubelet's.";
        Panic = "panic",
            "A defect of accelscope ended this reading.",
            "Report the log line with the panic.";
        ResetWhileRead = "reset_while_read",
            "The device was reset while it was read, so that its values are of two lives.",
            "Nothing; the next reading gives values again.";
        StructLargerThanKnown = "struct_larger_than_known",
            "The library wrote more than any known release does.",
            "Report the version of the library to accelscope.";
        SwitchedOff = "switched_off",
            "The driver has disabled the device.",
            "See the kernel log for the reason.";
        Unavailable = "unavailable",
            "The source cannot be opened.",
            "See the log line of the source, or run accelscope probe.";
        Unbound = "unbound",
            "The device is no longer bound to its driver.",
            "Bind it again.";
        UnknownReturnCode = "unknown_return_code",
            "The library returned a code that this release of accelscope does not know.",
            "Update accelscope if the library is newer.";
        UnknownStatus = "unknown_status",
            "The driver reports a status of the device that this release of accelscope does not know.",
            "See the driver's status file and kernel log; update accelscope if the status is new.";
    }
    TimedOut {
        Deadline = "deadline",
            "A call into the driver did not return in time.",
            "See the kernel log; a driver that hangs for long needs a reset or a reboot.";
        LibraryHung = "library_hung",
            "No call into the vendor's library returned for so long that the process that calls it was ended.",
            "See the kernel log; the process is started again by itself.";
        NoResponse = "no_response",
            "The kubelet did not respond in time.",
            "See the kubelet's log; accelscope asks it again by itself.";
        Stale = "stale",
            "The last value is too old to be reported.",
            "Nothing if it passes; otherwise see why the driver is slow.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::FaultCode;

    #[test]
    fn names_are_unique_snake_case_words() {
        let names: BTreeSet<_> = FaultCode::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), FaultCode::ALL.len());
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        assert!(names.iter().all(|name| name.bytes().all(legal)), "{names:?}");
    }

    #[test]
    fn each_has_a_meaning_and_an_action_of_one_sentence() {
        for code in FaultCode::ALL {
            for text in [code.meaning(), code.what_to_do()] {
                assert!(text.ends_with('.') && text.starts_with(char::is_uppercase), "{text}");
                assert!(!text.contains(". "), "{text}");
            }
        }
    }
}
