"""Prints one JSON object of everything that habana-pyhlml reads from the library at a path, and nothing else.

`pyhlml_dump.py LIBRARY`, with the release of pyhlml to use on PYTHONPATH. In HLML's own units. A call that fails
appears under its name as `{"error": <code>}`, and one that the release does not have as null. `layouts` has the
size and the members of each struct as the release defines it.
"""

import ctypes
import json
import sys
import warnings

# Newer releases warn of their own module.
warnings.simplefilter("ignore")

from pyhlml import hlml_types, main as hlml  # noqa: E402
from pyhlml.hlml_error import HLMLError  # noqa: E402
from pyhlml.hlml_lib import LibHLML  # noqa: E402

STRUCTS = {
    "hlml_pci_info_t": "c_hlml_pci_info",
    "hlml_utilization_t": "c_hlml_utilization",
    "hlml_memory_t": "c_hlml_memory",
    "hlml_pcb_info_t": "c_hlml_pcb_info",
    "hlml_event_data_t": "c_hlml_event_data",
}
SENSORS = {"on_aip": 0, "on_board": 1, "hbm": 3}
THRESHOLDS = {"shutdown": 0, "slowdown": 1, "mem_max": 2, "gpu_max": 3}


def plain(value):
    """A value as JSON can say it: structs by their members, bytes as text."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (str, int, float, type(None))):
        return value
    if hasattr(value, "_fields_"):
        return {field[0]: plain(getattr(value, field[0])) for field in value._fields_}
    if hasattr(value, "value"):
        return plain(value.value)
    return [plain(item) for item in value]


def read(name, *arguments):
    """The call's result, its error code, or nothing where this release has no such call."""
    function = getattr(hlml, name, None)
    if function is None:
        return None
    try:
        return plain(function(*arguments))
    except HLMLError as error:
        return {"error": error.value}


def members(struct, prefix="", start=0):
    """Name, offset and size of each member, those of structs within included."""
    for name, kind in struct._fields_:
        offset = start + getattr(struct, name).offset
        if hasattr(kind, "_fields_"):
            yield from members(kind, f"{prefix}{name}.", offset)
        else:
            yield [f"{prefix}{name}", offset, ctypes.sizeof(kind)]


def device(index):
    # Old releases keep one handle for all, so it is asked for anew.
    handle = hlml.hlmlDeviceGetHandleByIndex(index)
    ecc = {
        f"{kind}_{counter}": read("hlmlDeviceGetTotalECCErrors", handle, bit, number)
        for kind, bit in (("corrected", 0), ("uncorrected", 1))
        for counter, number in (("volatile", 0), ("aggregate", 1))
    }
    sram = {
        f"{kind}_{counter}": read("hlmlDeviceGetMemoryErrorCounter", handle, bit, number, 0)
        for kind, bit in (("corrected", 0), ("uncorrected", 1))
        for counter, number in (("volatile", 0), ("aggregate", 1))
    }
    masks = read("hlmlDeviceGetMacAddrInfo", handle)
    ports = {}
    for port in range(128):
        if masks[0][port // 64] >> (port % 64) & 1:
            ports[str(port)] = {
                "external": masks[1][port // 64] >> (port % 64) & 1,
                "up": read("hlmlDeviceNicGetLink", handle, port),
            }
    utilization = read("hlmlDeviceGetUtilizationRates", handle)
    return {
        "name": read("hlmlDeviceGetName", handle),
        "uuid": read("hlmlDeviceGetUUID", handle),
        "serial": read("hlmlDeviceGetSerial", handle),
        "minor": read("hlmlDeviceGetMinorNumber", handle),
        "module": read("hlmlDeviceGetModuleID", handle),
        "pci": read("hlmlDeviceGetPCIInfo", handle),
        "pcb": read("hlmlDeviceGetPCBInfo", handle),
        "fit": read("hlmlDeviceGetFirmwareFITVersion", handle),
        "spi": read("hlmlDeviceGetFirmwareSPIVersion", handle),
        "cpld": read("hlmlDeviceGetCPLDVersion", handle),
        # Up to 1.18 the number, since then the struct.
        "utilization": utilization["aip"] if isinstance(utilization, dict) else utilization,
        "memory": read("hlmlDeviceGetMemoryInfo", handle),
        "temperature": {
            name: read("hlmlDeviceGetTemperature", handle, sensor) for name, sensor in SENSORS.items()
        },
        "thresholds": {
            name: read("hlmlDeviceGetTemperatureThreshold", handle, kind) for name, kind in THRESHOLDS.items()
        },
        "power": read("hlmlDeviceGetPowerUsage", handle),
        "power_limit": read("hlmlDeviceGetPowerManagementLimit", handle),
        "power_default": read("hlmlDeviceGetPowerManagementDefaultLimit", handle),
        "power_range": read("hlmlDeviceGetPowerManagementLimitConstraints", handle),
        "energy": read("hlmlDeviceGetTotalEnergyConsumption", handle),
        "clock": read("hlmlDeviceGetClockInfo", handle),
        "clock_max": read("hlmlDeviceGetMaxClockInfo", handle),
        "performance_state": read("hlmlDeviceGetPerformanceState", handle),
        "throttle": read("hlmlDeviceGetCurrentClocksThrottleReasons", handle),
        "ecc_mode": read("hlmlDeviceGetECCMode", handle),
        "ecc": ecc,
        "sram": sram,
        "rows": [read("hlmlDeviceGetReplacedRowsCount", handle, cause) for cause in range(2)],
        "rows_pending": read("hlmlDeviceGetReplacedRowsPendingStatus", handle),
        "pcie": [read("hlmlDeviceGetPCIEThroughput", handle, direction) for direction in range(2)],
        "replays": read("hlmlDeviceGetPCIEReplayCounter", handle),
        "ports": ports,
        "violation": read("hlmlDeviceGetViolationStatus", handle, 0),
    }


def main():
    # The path is an argument of its own with a default, which is all that is changed.
    LibHLML.__init__.__defaults__ = (sys.argv[1],)
    hlml.hlmlInit()
    json.dump(
        {
            "hlml": read("hlmlGetHLMLVersion"),
            "driver": read("hlmlGetDriverVersion"),
            "layouts": {
                name: {
                    "size": ctypes.sizeof(getattr(hlml_types, struct)),
                    "members": list(members(getattr(hlml_types, struct))),
                }
                for name, struct in STRUCTS.items()
            },
            "devices": [device(index) for index in range(hlml.hlmlDeviceGetCount())],
        },
        sys.stdout,
        indent=1,
        sort_keys=True,
    )
    hlml.hlmlShutdown()


if __name__ == "__main__":
    main()
