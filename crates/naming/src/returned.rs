//! Return codes of vendors' libraries that cost a whole device or source, and those of the kubelet, each with its
//! meaning and what a reader can do about it. Other codes cost one value, and are passed on as they are.

/// A return code, as the vendor names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnedCode {
    /// The `code` label of the fault counter.
    pub name: &'static str,
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// What a reader can do, in one sentence.
    pub what_to_do: &'static str,
}

impl ReturnedCode {
    /// The row of a code; `None` for one that costs no more than a value.
    pub fn of(name: &str) -> Option<&'static Self> {
        RETURNED_CODES.iter().find(|row| row.name == name)
    }
}

const fn row(name: &'static str, meaning: &'static str, what_to_do: &'static str) -> ReturnedCode {
    ReturnedCode { name, meaning, what_to_do }
}

/// The rows, sorted by name.
pub const RETURNED_CODES: &[ReturnedCode] = &[
    row(
        "ERROR_DEVICE_LOST",
        "The GPU hung, was reset or was removed.",
        "Read the kernel log for the device's PCI address; if it does not return, reboot the node.",
    ),
    row(
        "ERROR_DEVICE_REQUIRES_RESET",
        "The GPU has stopped and works again after a reset.",
        "Drain the GPU and reset it, or reboot the node.",
    ),
    row(
        "ERROR_UNINITIALIZED",
        "Level Zero found no driver, or its driver went away.",
        "Install the Level Zero driver of the GPU, or load xe or i915.",
    ),
    row(
        "GRPC_FAILED_PRECONDITION",
        "The kubelet was just started and does not yet know its pods.",
        "Nothing if it passes.",
    ),
    row(
        "GRPC_PERMISSION_DENIED",
        "The kubelet does not give this list to the user of this process.",
        "Run as a user who may ask the kubelet, usually root.",
    ),
    row(
        "GRPC_RESOURCE_EXHAUSTED",
        "The kubelet limits how often it may be asked, and others ask it too.",
        "Raise --workloads.interval, or see who else asks the kubelet.",
    ),
    row(
        "GRPC_UNAVAILABLE",
        "The kubelet does not serve now, as while it starts or stops.",
        "See the kubelet's log if it lasts.",
    ),
    row(
        "GRPC_UNIMPLEMENTED",
        "The kubelet does not have this interface, or its feature gate is off.",
        "Update Kubernetes, or switch the feature gate on.",
    ),
    row(
        "HLML_ERROR_AIP_IS_LOST",
        "The Gaudi has fallen off the PCI bus or no longer responds.",
        "Read the kernel log for its PCI address, reboot the node, and replace the card if it is lost again.",
    ),
    row(
        "HLML_ERROR_DRIVER_NOT_LOADED",
        "The kernel driver habanalabs is not loaded.",
        "Load it (modprobe habanalabs) and read the kernel log if that fails.",
    ),
    row(
        "HLML_ERROR_UNINITIALIZED",
        "HLML lost its connection to the driver, as while the driver is reloaded.",
        "Nothing; the source connects again by itself.",
    ),
    row(
        "HLML_ERROR_UNKNOWN",
        "HLML gives no reason; often the card is in reset or no longer responds.",
        "Read the kernel log for the card's PCI address, and reset the card or reboot the node.",
    ),
    row(
        "NVML_ERROR_DRIVER_NOT_LOADED",
        "The NVIDIA kernel module is not loaded.",
        "Load it (modprobe nvidia) and read the kernel log if that fails.",
    ),
    row(
        "NVML_ERROR_GPU_IS_LOST",
        "The GPU has fallen off the PCI bus or no longer responds.",
        "Read the kernel log for its PCI address, reboot the node, and replace the board if it is lost again.",
    ),
    row(
        "NVML_ERROR_GPU_NOT_FOUND",
        "The driver has no such GPU any more.",
        "Read the kernel log for its PCI address, and reboot the node.",
    ),
    row(
        "NVML_ERROR_LIB_RM_VERSION_MISMATCH",
        "The library and the loaded kernel module are of two releases, as after an upgrade.",
        "Reboot the node, or unload and load the NVIDIA modules.",
    ),
    row(
        "NVML_ERROR_NO_PERMISSION",
        "The driver gives this value only to root.",
        "Run as root if the value matters.",
    ),
    row(
        "NVML_ERROR_RESET_REQUIRED",
        "The GPU has stopped and works again after a reset.",
        "Drain the GPU and reset it (nvidia-smi --gpu-reset), or reboot the node.",
    ),
    row(
        "NVML_ERROR_TIMEOUT",
        "The GPU did not respond to the driver in time.",
        "Read the kernel log for its PCI address, and reboot the node if it does not recover.",
    ),
    row(
        "NVML_ERROR_UNINITIALIZED",
        "NVML lost its connection to the driver, as while the driver is reloaded.",
        "Nothing; the source connects again by itself.",
    ),
    row(
        "NVML_ERROR_UNKNOWN",
        "NVML gives no reason; for every call it means that the GPU or its firmware no longer responds.",
        "Read the kernel log for Xid lines with its PCI address, and reset the GPU or reboot the node.",
    ),
];

#[cfg(test)]
mod tests {
    use super::{RETURNED_CODES, ReturnedCode};
    use crate::FaultCode;

    #[test]
    fn each_row_is_found_once_and_says_what_to_do_in_one_sentence() {
        assert!(RETURNED_CODES.is_sorted_by(|a, b| a.name < b.name));
        for row in RETURNED_CODES {
            assert_eq!(ReturnedCode::of(row.name), Some(row));
            assert!(FaultCode::ALL.iter().all(|code| code.name() != row.name), "{}", row.name);
            for text in [row.meaning, row.what_to_do] {
                assert!(text.ends_with('.') && !text.contains(". "), "{text}");
            }
        }
        assert_eq!(ReturnedCode::of("NVML_ERROR_NOT_SUPPORTED"), None);
    }
}
