"""Prints one JSON object of everything that nvidia-ml-py reads from the library it opens, and nothing else.

`{"driver": ..., "devices": [{...}, ...]}`, in NVML's own units. A call that fails appears under its name as
`{"error": <code>}`, so that what is not supported can be compared as well as what is.
"""

import ctypes
import json
import math
import sys
import time

import pynvml as nvml

GPM_METRICS = [
    *range(1, 14), 20, 21, *range(30, 38), *range(40, 48), 50, 51, *range(60, 98), *range(160, 166), 172, 174,
    *range(248, 261),
]
LINKS = range(nvml.NVML_NVLINK_MAX_LINKS)
ALL_LINKS = 0xFFFFFFFF
LINK_FIELDS = {
    "tx_kib": nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX,
    "rx_kib": nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX,
    "raw_tx_kib": nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_TX,
    "raw_rx_kib": nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_RX,
}
CLOCKS = {
    "graphics": nvml.NVML_CLOCK_GRAPHICS,
    "sm": nvml.NVML_CLOCK_SM,
    "memory": nvml.NVML_CLOCK_MEM,
    "video": nvml.NVML_CLOCK_VIDEO,
}
THRESHOLDS = {"shutdown": 0, "slowdown": 1, "memory_max": 2, "gpu_max": 3}
POLICIES = [0, 1, 2, 3, 4, 5, 10, 11]
# From driver 580.82 on, clock-event times have other numbers: all are asked for.
FIELDS = [*range(1, 147), 147, *range(161, 200), *range(230, 235), 251, 252, 253, 269, 270, 271, *range(301, 309)]
EVERY_LINK_FIELD = {138, 139, 140, 141, 161, 162, 163}
# Counters that each link has from Blackwell on.
LINK_FIELD_OF_BLACKWELL = [202, 204, *range(206, 216), 219, 220, 221, *range(235, 251), *range(289, 297)]
VALUE_MEMBERS = ["dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal"]


def plain(value):
    """A value as JSON can say it: structs by their members, bytes as text."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (str, int, type(None))):
        return value
    if isinstance(value, (list, tuple)) or hasattr(value, "__len__"):
        return [plain(item) for item in value]
    if hasattr(value, "_fields_"):
        return {field[0]: member(value, field[0]) for field in value._fields_}
    return {name: plain(item) for name, item in vars(value).items()}


def member(struct, name):
    """A member of a struct. nvidia-ml-py takes numbers of one byte and raw bytes for text: the former are
    printed as numbers, and the latter as hexadecimal digits where they are no text.
    """
    where = getattr(type(struct), name)
    raw = ctypes.string_at(ctypes.addressof(struct) + where.offset, where.size)
    if len(raw) == 1:
        return raw[0]
    try:
        return plain(getattr(struct, name))
    except UnicodeDecodeError:
        return raw.hex()


def read(function, *arguments, **options):
    """The call's result, or its error code."""
    try:
        return plain(function(*arguments, **options))
    except nvml.NVMLError as error:
        return {"error": error.value}


def filled(function, handle, struct):
    """As `read`, for the calls of nvidia-ml-py that fill in a struct given to them."""
    try:
        function(handle, ctypes.byref(struct))
        return plain(struct)
    except nvml.NVMLError as error:
        return {"error": error.value}


def unrepairable(handle):
    """The struct of nvml.h is the flag alone. That of nvidia-ml-py has a version before it, so it reads a word that
    no driver writes.
    """
    flag = ctypes.c_uint()
    call = nvml._nvmlGetFunctionPointer("nvmlDeviceGetUnrepairableMemoryFlag_v1")
    nvml._nvmlCheckReturn(call(handle, ctypes.byref(flag)))
    return flag.value


def sram_locations(handle):
    """How many places in on-chip memory had an uncorrectable error: the call without a list of them."""
    counts = nvml.c_nvmlEccSramUniqueUncorrectedErrorCounts_v1_t()
    try:
        nvml.nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts(handle, ctypes.byref(counts))
    except nvml.NVMLError as error:
        if error.value != nvml.NVML_ERROR_INSUFFICIENT_SIZE:
            return {"error": error.value}
    return counts.entryCount


def fields(handle, asked):
    """Field values by number, or by (number, scope): each a number or an error code."""
    answers = {}
    try:
        values = nvml.nvmlDeviceGetFieldValues(handle, asked)
    except nvml.NVMLError as error:
        return {"error": error.value}
    for field, value in zip(asked, values):
        name = str(field) if isinstance(field, int) else f"{field[0]}:{field[1]}"
        if value.nvmlReturn:
            answers[name] = {"error": value.nvmlReturn}
        else:
            answers[name] = plain(getattr(value.value, VALUE_MEMBERS[value.valueType]))
    return answers


def gpm(sample):
    """All GPM metrics between two samples, which `sample` takes into a buffer."""
    first, second = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
    try:
        sample(first)
        time.sleep(0.12)
        sample(second)
        request = nvml.c_nvmlGpmMetricsGet_t()
        request.version = nvml.NVML_GPM_METRICS_GET_VERSION
        request.sample1, request.sample2 = first, second
        request.numMetrics = len(GPM_METRICS)
        for place, metric in zip(request.metrics, GPM_METRICS):
            place.metricId = metric
        nvml.nvmlGpmMetricsGet(request)
        return {
            str(metric.metricId): {"error": metric.nvmlReturn} if metric.nvmlReturn else plain(metric.value)
            for metric in request.metrics[: len(GPM_METRICS)]
        }
    except nvml.NVMLError as error:
        return {"error": error.value}
    finally:
        nvml.nvmlGpmSampleFree(first)
        nvml.nvmlGpmSampleFree(second)


def link(handle, number):
    return {
        "active": read(nvml.nvmlDeviceGetNvLinkState, handle, number),
        "version": read(nvml.nvmlDeviceGetNvLinkVersion, handle, number),
        "remote": read(nvml.nvmlDeviceGetNvLinkRemotePciInfo, handle, number),
        "remote_type": read(nvml.nvmlDeviceGetNvLinkRemoteDeviceType, handle, number),
        "errors": [read(nvml.nvmlDeviceGetNvLinkErrorCounter, handle, number, kind) for kind in range(5)],
        "fields": fields(
            handle, [(field, number) for field in [*sorted(EVERY_LINK_FIELD), *LINK_FIELD_OF_BLACKWELL]]
        ),
    }


def instance(parent, handle):
    gpu_instance = read(nvml.nvmlDeviceGetGpuInstanceId, handle)
    return {
        "name": read(nvml.nvmlDeviceGetName, handle),
        "uuid": read(nvml.nvmlDeviceGetUUID, handle),
        "gpu_instance": gpu_instance,
        "compute_instance": read(nvml.nvmlDeviceGetComputeInstanceId, handle),
        "attributes": read(nvml.nvmlDeviceGetAttributes, handle),
        "memory": read(nvml.nvmlDeviceGetMemoryInfo, handle, version=nvml.nvmlMemory_v2),
        "processes": read(nvml.nvmlDeviceGetComputeRunningProcesses, handle),
        "utilization": read(nvml.nvmlDeviceGetUtilizationRates, handle),
        "gpm": gpm(lambda sample: nvml.nvmlGpmMigSampleGet(parent, gpu_instance, sample)),
        "gpm_by_handle": gpm(lambda sample: nvml.nvmlGpmSampleGet(handle, sample)),
    }


def instances(handle):
    found = []
    for index in range(read(nvml.nvmlDeviceGetMaxMigDeviceCount, handle)):
        try:
            found.append(instance(handle, nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)))
        except nvml.NVMLError_NotFound:
            pass
        except nvml.NVMLError as error:
            return {"error": error.value}
    return found


def device(handle):
    ecc = {
        f"{severity}_{counter}": read(nvml.nvmlDeviceGetTotalEccErrors, handle, bit, kind)
        for severity, bit in (("corrected", 0), ("uncorrected", 1))
        for counter, kind in (("volatile", 0), ("aggregate", 1))
    }
    return {
        "name": read(nvml.nvmlDeviceGetName, handle),
        "uuid": read(nvml.nvmlDeviceGetUUID, handle),
        "serial": read(nvml.nvmlDeviceGetSerial, handle),
        "index": read(nvml.nvmlDeviceGetIndex, handle),
        "minor": read(nvml.nvmlDeviceGetMinorNumber, handle),
        "brand": read(nvml.nvmlDeviceGetBrand, handle),
        "architecture": read(nvml.nvmlDeviceGetArchitecture, handle),
        "compute_capability": read(nvml.nvmlDeviceGetCudaComputeCapability, handle),
        "board_part_number": read(nvml.nvmlDeviceGetBoardPartNumber, handle),
        "vbios": read(nvml.nvmlDeviceGetVbiosVersion, handle),
        "inforom": read(nvml.nvmlDeviceGetInforomImageVersion, handle),
        "inforom_objects": [read(nvml.nvmlDeviceGetInforomVersion, handle, kind) for kind in range(3)],
        "gsp_firmware": read(nvml.nvmlDeviceGetGspFirmwareVersion, handle),
        "module": read(nvml.nvmlDeviceGetModuleId, handle),
        "cores": read(nvml.nvmlDeviceGetNumGpuCores, handle),
        "pci": read(nvml.nvmlDeviceGetPciInfo, handle),
        "pcie": {
            "generation": read(nvml.nvmlDeviceGetCurrPcieLinkGeneration, handle),
            "generation_max": read(nvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
            "width": read(nvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
            "width_max": read(nvml.nvmlDeviceGetMaxPcieLinkWidth, handle),
            "replays": read(nvml.nvmlDeviceGetPcieReplayCounter, handle),
            "tx_kilobytes_per_second": read(nvml.nvmlDeviceGetPcieThroughput, handle, 0),
            "rx_kilobytes_per_second": read(nvml.nvmlDeviceGetPcieThroughput, handle, 1),
        },
        "memory": read(nvml.nvmlDeviceGetMemoryInfo, handle, version=nvml.nvmlMemory_v2),
        "memory_v1": read(nvml.nvmlDeviceGetMemoryInfo, handle),
        "bar1": read(nvml.nvmlDeviceGetBAR1MemoryInfo, handle),
        "power": {
            "usage": read(nvml.nvmlDeviceGetPowerUsage, handle),
            "limit": read(nvml.nvmlDeviceGetPowerManagementLimit, handle),
            "default": read(nvml.nvmlDeviceGetPowerManagementDefaultLimit, handle),
            "enforced": read(nvml.nvmlDeviceGetEnforcedPowerLimit, handle),
            "constraints": read(nvml.nvmlDeviceGetPowerManagementLimitConstraints, handle),
            "energy": read(nvml.nvmlDeviceGetTotalEnergyConsumption, handle),
        },
        "temperature": {
            "gpu": read(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            "gpu_v": read(nvml.nvmlDeviceGetTemperatureV, handle, nvml.NVML_TEMPERATURE_GPU),
            "margin": read(nvml.nvmlDeviceGetMarginTemperature, handle),
            "thresholds": {
                name: read(nvml.nvmlDeviceGetTemperatureThreshold, handle, kind)
                for name, kind in THRESHOLDS.items()
            },
        },
        "fan": read(nvml.nvmlDeviceGetFanSpeed, handle),
        "utilization": read(nvml.nvmlDeviceGetUtilizationRates, handle),
        "encoder": read(nvml.nvmlDeviceGetEncoderUtilization, handle),
        "decoder": read(nvml.nvmlDeviceGetDecoderUtilization, handle),
        "jpeg": read(nvml.nvmlDeviceGetJpgUtilization, handle),
        "optical_flow": read(nvml.nvmlDeviceGetOfaUtilization, handle),
        "clocks": {name: read(nvml.nvmlDeviceGetClockInfo, handle, kind) for name, kind in CLOCKS.items()},
        "clocks_max": {
            name: read(nvml.nvmlDeviceGetMaxClockInfo, handle, kind) for name, kind in CLOCKS.items()
        },
        "performance_state": read(nvml.nvmlDeviceGetPerformanceState, handle),
        "event_reasons": read(nvml.nvmlDeviceGetCurrentClocksEventReasons, handle),
        "throttle_reasons": read(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle),
        "supported_reasons": read(nvml.nvmlDeviceGetSupportedClocksEventReasons, handle),
        "violations": {
            str(policy): read(nvml.nvmlDeviceGetViolationStatus, handle, policy) for policy in POLICIES
        },
        "persistence": read(nvml.nvmlDeviceGetPersistenceMode, handle),
        "compute_mode": read(nvml.nvmlDeviceGetComputeMode, handle),
        "ecc_mode": read(nvml.nvmlDeviceGetEccMode, handle),
        "ecc": ecc,
        "ecc_dram": [read(nvml.nvmlDeviceGetMemoryErrorCounter, handle, bit, 1, 2) for bit in range(2)],
        "ecc_sram": [read(nvml.nvmlDeviceGetMemoryErrorCounter, handle, bit, 1, 7) for bit in range(2)],
        "sram_status": filled(
            nvml.nvmlDeviceGetSramEccErrorStatus, handle, nvml.c_nvmlEccSramErrorStatus_v1_t()
        ),
        "remapped_rows": read(nvml.nvmlDeviceGetRemappedRows, handle),
        "row_histogram": read(nvml.nvmlDeviceGetRowRemapperHistogram, handle),
        "retired_pages": [read(nvml.nvmlDeviceGetRetiredPages, handle, cause) for cause in range(2)],
        "retired_pending": read(nvml.nvmlDeviceGetRetiredPagesPendingStatus, handle),
        "fields": fields(
            handle, [(field, ALL_LINKS) if field in EVERY_LINK_FIELD else field for field in FIELDS]
        ),
        "links": {str(number): link(handle, number) for number in LINKS},
        "fabric": filled(nvml.nvmlDeviceGetGpuFabricInfoV, handle, nvml.c_nvmlGpuFabricInfo_v3_t()),
        "fabric_v4": filled(nvml.nvmlDeviceGetGpuFabricInfo_v4, handle, nvml.c_nvmlGpuFabricInfo_v4_t()),
        "repair": read(nvml.nvmlDeviceGetRepairStatus, handle),
        "unrepairable": read(unrepairable, handle),
        "sram_locations": sram_locations(handle),
        "platform": filled(nvml.nvmlDeviceGetPlatformInfo, handle, nvml.c_nvmlPlatformInfo_v2_t()),
        "power_profiles": filled(
            nvml.nvmlDeviceWorkloadPowerProfileGetCurrentProfiles,
            handle,
            nvml.c_nvmlWorkloadPowerProfileCurrentProfiles_v1_t(),
        ),
        "licence": read(nvml.nvmlDeviceGetGridLicensableFeatures, handle),
        "processes": read(nvml.nvmlDeviceGetComputeRunningProcesses, handle),
        "events": read(nvml.nvmlDeviceGetSupportedEventTypes, handle),
        "gpm_supported": read(nvml.nvmlGpmQueryDeviceSupport, handle),
        "gpm": gpm(lambda sample: nvml.nvmlGpmSampleGet(handle, sample)),
        "mig_mode": read(nvml.nvmlDeviceGetMigMode, handle),
        "instances": instances(handle),
    }


def main():
    nvml.nvmlInit()
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    json.dump(
        {
            "driver": read(nvml.nvmlSystemGetDriverVersion),
            "nvml": read(nvml.nvmlSystemGetNVMLVersion),
            "cuda": read(nvml.nvmlSystemGetCudaDriverVersion),
            "devices": [device(handle) for handle in handles],
        },
        sys.stdout,
        indent=1,
        sort_keys=True,
    )
    nvml.nvmlShutdown()


if __name__ == "__main__":
    main()
