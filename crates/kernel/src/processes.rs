//! Whether the processes of the machine can be seen: what counts them is wrong where some are hidden, and says
//! nothing about that.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use reading::{Fault, FaultCode, Measured};

use crate::file::{self, File};

/// The number of the first PID namespace, which is the host's (include/linux/proc_ns.h, `PROC_PID_INIT_INO`).
const HOST: &str = "pid:[4026531836]";

/// Whether `procfs` lists every process of the machine; `call` is named in the fault.
///
/// # Errors
/// `needs_cap_sys_ptrace_and_dac_read_search` where procfs is mounted with `hidepid`,
/// `needs_host_pid_namespace` where it is that of a container.
pub fn all_listed(procfs: &Path, call: &'static str) -> Measured<()> {
    // The kernel's own thread kthreadd is process 2 in the host's PID namespace and in no other.
    match File::new(procfs, "2/comm").text() {
        Ok(name) if name == "kthreadd" => Ok(()),
        Err(fault) if matches!(fault.code.name(), "EACCES" | "EPERM") => {
            Err(Fault::new(call, FaultCode::NeedsPtrace))
        }
        // Every namespace has a process 1.
        Err(_) if !procfs.join("1").exists() && procfs.join("self").exists() => {
            Err(Fault::new(call, FaultCode::NeedsPtrace))
        }
        _ => Err(Fault::new(call, FaultCode::NeedsHostPidNamespace)),
    }
}

/// Whether this process is in the host's PID namespace, by any procfs that lists it: a driver counts for a
/// process what that process can see.
///
/// # Errors
/// `needs_host_pid_namespace`, or that of the link.
pub fn in_host_namespace(procfs: &Path, call: &'static str) -> Measured<()> {
    match fs::read_link(procfs.join("self/ns/pid")) {
        Ok(namespace) if namespace == Path::new(HOST) => Ok(()),
        Ok(_) => Err(Fault::new(call, FaultCode::NeedsHostPidNamespace)),
        Err(error) => Err(file::fault(call, &error)),
    }
}

/// Whether an error about a process or one of its files means that it has ended or closed it.
pub fn is_gone(error: &io::Error) -> bool {
    /// asm-generic/errno-base.h.
    const ESRCH: i32 = 3;
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_hides_processes_is_named() {
        let procfs = tempfile::tempdir().expect("a folder");
        let code = || all_listed(procfs.path(), "fdinfo").map_err(|fault| fault.code.name());
        fs::create_dir(procfs.path().join("self")).expect("created");
        assert_eq!(code(), Err("needs_cap_sys_ptrace_and_dac_read_search"), "hidepid=2");
        fs::create_dir(procfs.path().join("1")).expect("created");
        assert_eq!(code(), Err("needs_host_pid_namespace"));
        fs::create_dir(procfs.path().join("2")).expect("created");
        fs::write(procfs.path().join("2/comm"), "sleep\n").expect("written");
        assert_eq!(code(), Err("needs_host_pid_namespace"), "a container's own process 2");
        fs::write(procfs.path().join("2/comm"), "kthreadd\n").expect("written");
        assert_eq!(code(), Ok(()));
    }

    #[test]
    fn a_process_knows_its_namespace() {
        let procfs = tempfile::tempdir().expect("a folder");
        let code = || in_host_namespace(procfs.path(), "count").map_err(|fault| fault.code.name());
        assert_eq!(code(), Err("ENOENT"));
        fs::create_dir_all(procfs.path().join("self/ns")).expect("created");
        let link = procfs.path().join("self/ns/pid");
        symlink("pid:[4026532841]", &link).expect("linked");
        assert_eq!(code(), Err("needs_host_pid_namespace"));
        fs::remove_file(&link).expect("removed");
        symlink(HOST, &link).expect("linked");
        assert_eq!(code(), Ok(()));
        // Whatever namespace the test runs in, the kernel says which.
        assert!(matches!(
            in_host_namespace("/proc".as_ref(), "count"),
            Ok(()) | Err(Fault { code: reading::Code::Known(FaultCode::NeedsHostPidNamespace), .. })
        ));
    }
}
