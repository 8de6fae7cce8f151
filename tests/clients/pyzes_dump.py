"""Prints one JSON object of what pyzes reads of each GPU: PCI address to values in Sysman's own units.

Arguments: the library, and how to begin with it. `zesInit` is pyzes's own way, for loaders of 1.5 and later; `zeInit`
is for older ones, which pyzes does not know: device handles of the core are cast. All other calls are pyzes's.
"""

import ctypes
import json
import sys

import pyzes as zes

path, way = sys.argv[1:]
zes.gpuLib = ctypes.CDLL(path)


def check(code):
    if code != 0:
        raise SystemExit(f"Level Zero answers {code:#x}")


def several(call, handle, kind):
    """The list of a Sysman enumeration, or the code of its error."""
    count = ctypes.c_uint32(0)
    code = call(*handle, ctypes.byref(count), None)
    if code != 0:
        return code
    items = (kind * count.value)()
    check(call(*handle, ctypes.byref(count), items) if count.value else 0)
    return list(items)


def one(call, handle, kind, stype=None):
    """A struct filled by a Sysman call, or None when it is not supported."""
    value = kind()
    if stype is not None:
        value.stype = stype
    return value if call(handle, ctypes.byref(value)) == 0 else None


def devices():
    if way == "zesInit":
        check(zes.zesInit(0))
        drivers = several(zes.zesDriverGet, (), zes.zes_driver_handle_t)
        get = zes.zesDeviceGet
    else:
        library = zes.gpuLib
        check(library.zeInit(0))
        drivers = several(library.zeDriverGet, (), ctypes.c_void_p)
        drivers = [ctypes.c_void_p(driver) for driver in drivers]

        def get(driver, count, devices):
            return library.zeDeviceGet(driver, count, devices)

    return [d for driver in drivers for d in several(get, (driver,), zes.zes_device_handle_t)]


def text(raw):
    return bytes(raw).split(b"\0")[0].decode()


def dump(device):
    out = {}
    properties = one(zes.zesDeviceGetProperties, device, zes.zes_device_properties_t, 0x1)
    out["name"] = text(properties.core.name)
    out["serial"] = text(properties.serialNumber)
    pci = one(zes.zesDevicePciGetProperties, device, zes.zes_pci_properties_t, 0x2)
    a = pci.address
    address = f"{a.domain:04x}:{a.bus:02x}:{a.device:02x}.{a.function:x}"
    out["pci_max"] = [pci.maxSpeed.gen, pci.maxSpeed.width]
    state = one(zes.zesDevicePciGetState, device, zes.zes_pci_state_t, 0x17)
    out["pci"] = state and [state.speed.gen, state.speed.width]
    stats = one(zes.zesDevicePciGetStats, device, zes.zes_pci_stats_t)
    out["pci_bytes"] = stats and [stats.rxCounter, stats.txCounter]
    out["memory"] = []
    for memory in several(zes.zesDeviceEnumMemoryModules, (device,), zes.zes_mem_handle_t):
        module = one(zes.zesMemoryGetProperties, memory, zes.zes_mem_properties_t, 0xB)
        level = one(zes.zesMemoryGetState, memory, zes.zes_mem_state_t, 0x1E)
        moved = one(zes.zesMemoryGetBandwidth, memory, zes.zes_mem_bandwidth_t)
        out["memory"].append(
            {
                "location": module.location,
                "physical": module.physicalSize,
                "size": level.size,
                "free": level.free,
                "read": moved and moved.readCounter,
                "written": moved and moved.writeCounter,
            }
        )
    out["energy"] = {}
    for power in several(zes.zesDeviceEnumPowerDomains, (device,), zes.zes_pwr_handle_t):
        domain = zes.zes_power_ext_properties_t()
        domain.stype = 0x28
        limits = zes.zes_power_properties_t()
        limits.stype = 0xD
        limits.pNext = ctypes.cast(ctypes.byref(domain), ctypes.c_void_p)
        check(zes.zesPowerGetProperties(power, ctypes.byref(limits)))
        counter = one(zes.zesPowerGetEnergyCounter, power, zes.zes_power_energy_counter_t)
        out["energy"][str(domain.domain)] = counter.energy
        described = several(zes.zesPowerGetLimitsExt, (power,), zes.zes_power_limit_ext_desc_t)
        out["limits"] = {str(limit.level): limit.limit for limit in described}
    out["clocks"] = {}
    for frequency in several(zes.zesDeviceEnumFrequencyDomains, (device,), zes.zes_freq_handle_t):
        domain = one(zes.zesFrequencyGetProperties, frequency, zes.zes_freq_properties_t, 0x9)
        now = one(zes.zesFrequencyGetState, frequency, zes.zes_freq_state_t, 0x1B)
        limits = one(zes.zesFrequencyGetRange, frequency, zes.zes_freq_range_t)
        out["clocks"][str(domain.type)] = [now.actual, domain.max, limits.max, now.throttleReasons]
    out["temperatures"] = {}
    for sensor in several(zes.zesDeviceEnumTemperatureSensors, (device,), zes.zes_temp_handle_t):
        kind = one(zes.zesTemperatureGetProperties, sensor, zes.zes_temp_properties_t, 0x14)
        celsius = one(zes.zesTemperatureGetState, sensor, ctypes.c_double)
        out["temperatures"][str(kind.type)] = celsius.value
    out["engines"] = []
    for engine in several(zes.zesDeviceEnumEngineGroups, (device,), zes.zes_engine_handle_t):
        group = one(zes.zesEngineGetProperties, engine, zes.zes_engine_properties_t, 0x5)
        stats = one(zes.zesEngineGetActivity, engine, zes.zes_engine_stats_t)
        out["engines"].append([group.type, stats.activeTime, stats.timestamp])
    count = ctypes.c_uint32(0)
    check(zes.zesDeviceProcessesGetState(device, ctypes.byref(count), None))
    out["processes"] = count.value
    return address, out


print(json.dumps(dict(dump(device) for device in devices())))
