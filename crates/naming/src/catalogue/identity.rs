//! What a device is, and whether it is there.

use crate::{
    Count, Flag, Label, MetricKind, Seconds,
    entry::{counter, gauge, info, own, state_set, vendor_only},
};

entries! { from 0;

    DEVICE_INFO: Flag = info(
        "accel_device_info",
        "What the device is: model, address, serial, driver and firmware versions",
    )
    .labels(&[
        Label::Vendor,
        Label::Model,
        Label::Architecture,
        Label::PciBusId,
        Label::Card,
        Label::RenderNode,
        Label::AccelNode,
        Label::Serial,
        Label::BoardPartNumber,
        Label::DriverVersion,
        Label::LibraryVersion,
        Label::RuntimeVersion,
        Label::FirmwareVersion,
        Label::InforomVersion,
        Label::EccInforomVersion,
        Label::PowerInforomVersion,
        Label::OemInforomVersion,
        Label::Brand,
        Label::PartitionProfile,
        Label::RatedTops,
        Label::SchedMode,
        Label::Features,
        Label::SignalSources,
        Label::FitVersion,
        Label::CpldVersion,
        Label::ModuleId,
        Label::PcbVersion,
        Label::PcbAssemblyVersion,
    ])
    .outlives_loss();

    DEVICE_CONFIG: Flag = vendor_only(
        "Intel's Gaudi exporter prints a constant 1 beside its labels; the unified schema has \
         accel_device_info",
    );

    PLATFORM_INFO: Flag = info(
        "accel_platform_info",
        "Where the device is in its rack: chassis, slot, tray and host, as its platform reports it",
    )
    .labels(&[
        Label::ChassisSerial,
        Label::Slot,
        Label::Tray,
        Label::HostId,
        Label::ModuleId,
        Label::PeerType,
        Label::IbGuid,
    ]);

    DEVICE_UP: Flag = gauge(
        "accel_device_up",
        "Whether the device can be read; at 0 it keeps accel_device_info and its counts and times of errors \
         and has no other series",
    )
    .sourceless("Made by the exporter from each device's last sample.");

    DEVICE_HEALTH: Flag = state_set(
        "accel_device_health",
        "Whether the device can be given work, by the same reasons as the alerts: ok, degraded, failed, or unknown \
         while nothing current can be read; one of them is 1",
    )
    .labels(&[Label::State])
    .sourceless("Made by the exporter from what it read of the device.");

    DEVICE_HEALTH_REASON: Flag = gauge(
        "accel_device_health_reason",
        "Why the device is not ok: 1 for each reason, of which docs/health.md has the alert and the action",
    )
    .labels(&[Label::Reason])
    .sourceless("Made by the exporter from what it read of the device.");
    DEVICE_DETACHED: Flag = gauge(
        "accel_device_detached",
        "Whether the exporter has let go of the device, on request or because its driver gives it up: nothing of it \
         is open or read, so accel_device_up is absent, and what a lost device keeps stays; absent for all others",
    )
    .sourceless("Made by the exporter for a device that is detached.");

    DEVICE_ASLEEP: Flag = gauge(
        "accel_device_asleep",
        "Whether runtime power management has suspended the device",
    );

    RUNTIME_SECONDS: Seconds = counter(
        "accel_runtime_seconds_total",
        "Time that the device has been awake (state active) and asleep (state suspended), as runtime \
         power management counts it",
    )
    .labels(&[Label::State]);

    UPTIME: Seconds = gauge(
        "accel_uptime_seconds",
        "Time since the driver initialised the device; it begins anew with each reset of the device and \
         reload of the driver",
    );

    DEVICES: Count = own(
        MetricKind::Gauge,
        "accel_devices",
        &[Label::Family],
        "Devices that the family's driver lists now, counted like accel_devices_expected; 0 while no driver \
         can be asked and the PCI bus shows some; a device that the exporter has let go of counts in both",
    );

    DEVICES_EXPECTED: Count = own(
        MetricKind::Gauge,
        "accel_devices_expected",
        &[Label::Family],
        "Devices of the family on the PCI bus that its driver has bound or should bind, from the files \
         under bus/pci/devices: neither virtual functions nor what another driver has bound, as for a \
         virtual machine",
    );
}
