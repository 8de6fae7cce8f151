//! The kernel's error numbers, as faults: which kind of absence each is, what it means of a kernel file, and what
//! a reader can do about it.

use crate::Absence;

/// An error number of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno {
    /// As Linux numbers it on every architecture that has accelerators (asm-generic/errno*.h).
    pub number: i32,
    /// Its name, which is the `code` label of the fault counter.
    pub name: &'static str,
    /// A missing file or permission is `Unsupported`; an error of the device is `Failed`.
    pub absence: Absence,
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// What a reader can do, in one sentence.
    pub what_to_do: &'static str,
}

macro_rules! errnos {
    ($($number:literal $name:literal $absence:ident, $meaning:literal, $action:literal;)*) => {
        &[$(Errno {
            number: $number,
            name: $name,
            absence: Absence::$absence,
            meaning: $meaning,
            what_to_do: $action,
        }),*]
    };
}

impl Errno {
    /// Every one that has a name in faults.
    pub const ALL: &[Self] = errnos! {
        1 "EPERM" Unsupported,
            "The kernel does not permit this process to read it.",
            "Grant the capability that docs/privileges.md lists for it.";
        2 "ENOENT" Unsupported,
            "The kernel shows no such file or interface on this machine.",
            "Nothing if the part lacks it; otherwise load its driver or update the kernel (docs/intel.md lists the releases).";
        5 "EIO" Failed,
            "The device or its firmware did not give the value.",
            "See the kernel log if it lasts.";
        6 "ENXIO" Failed,
            "There is no device behind this file now.",
            "See the kernel log.";
        11 "EAGAIN" NoData,
            "The driver has no value at this moment.",
            "Nothing if it passes.";
        12 "ENOMEM" Failed,
            "The kernel has no memory for this call.",
            "Free memory on the node.";
        13 "EACCES" Unsupported,
            "The file may not be read by this user.",
            "Grant the capability that docs/privileges.md lists for it.";
        16 "EBUSY" NoData,
            "Something else uses the device or counter.",
            "Nothing if it passes; otherwise end its other user.";
        19 "ENODEV" Failed,
            "The device is gone or its driver gives no access to it.",
            "See the kernel log.";
        20 "ENOTDIR" Unsupported,
            "A folder of the kernel's is a file on this machine.",
            "Update the kernel.";
        21 "EISDIR" Failed,
            "A file of the kernel's is a folder on this machine.",
            "Update accelscope.";
        22 "EINVAL" Failed,
            "The driver refused the call or could not read its hardware.",
            "Update the kernel if it lasts.";
        24 "EMFILE" Failed,
            "The process has too many open files.",
            "Raise the limit of open files (LimitNOFILE).";
        25 "ENOTTY" Unsupported,
            "The driver does not know this call.",
            "Update the kernel or driver.";
        38 "ENOSYS" Unsupported,
            "The kernel was built without this interface.",
            "Nothing on this kernel.";
        61 "ENODATA" NoData,
            "The driver has no value now.",
            "Nothing if it passes; some sensors have none while the device sleeps.";
        95 "EOPNOTSUPP" Unsupported,
            "The device or its firmware does not support this.",
            "Nothing.";
        110 "ETIMEDOUT" Failed,
            "The device did not respond to the driver in time.",
            "See the kernel log; a device that stays so needs a reset.";
        111 "ECONNREFUSED" Failed,
            "Nothing listens on the socket.",
            "Start the program that it belongs to, such as the kubelet.";
    };

    /// The one with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|errno| errno.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn each_has_its_own_name_and_number_and_two_sentences() {
        for (place, errno) in Errno::ALL.iter().enumerate() {
            let others = &Errno::ALL[place + 1..];
            assert!(others.iter().all(|other| other.name != errno.name && other.number > errno.number));
            assert_eq!(Errno::named(errno.name), Some(errno));
            for text in [errno.meaning, errno.what_to_do] {
                assert!(text.ends_with('.') && text.starts_with(char::is_uppercase), "{text}");
                assert!(!text.contains(". "), "{text}");
            }
        }
        assert_eq!(Errno::named("NVML_ERROR_UNKNOWN"), None);
    }
}
