//! Vendors' libraries that are opened in the exporter itself: what one does while it is opened costs its own
//! family, and one that others than root can change is not opened by root.

mod fixture;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use fixture::{PROGRAM, Running, command, ended, get, library};

/// The flag of each vendor's library, its source, and what makes the source look for it: `habanalabs` is
/// loaded below this sysfs.
const FLAGS: [(&str, &str); 3] =
    [("--library.nvml", "nvidia"), ("--library.hlml", "gaudi"), ("--library.level-zero", "xpu")];

/// A sysfs on which each vendor's hardware may be.
fn sysfs(folder: &Path) -> &Path {
    fs::create_dir_all(folder.join("module/habanalabs")).expect("created");
    for (address, vendor, class) in
        [("0000:19:00.0", "0x10de", "0x030200"), ("0000:1a:00.0", "0x8086", "0x030000")]
    {
        let function = folder.join("bus/pci/devices").join(address);
        fs::create_dir_all(&function).expect("created");
        fs::write(function.join("vendor"), vendor).expect("written");
        fs::write(function.join("class"), class).expect("written");
    }
    folder
}

/// A library whose constructor does this.
fn at_start(folder: &Path, name: &str, constructor: &str) -> std::path::PathBuf {
    library(
        folder,
        name,
        &format!("__attribute__((constructor)) static void start(void) {{ {constructor} }}"),
    )
}

fn serve(flag: &str, source: &str, path: &Path, sysfs: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .args(["--source", source, "--web.listen-address", "127.0.0.1:0", "--log.format", "json"])
        .args(["--isolate", "off", flag])
        .arg(path)
        .arg("--path.sysfs")
        .arg(sysfs)
        .stderr(Stdio::piped());
    command
}

#[test]
fn a_constructor_that_crashes_exits_or_fails_is_named_and_costs_one_family() {
    let folder = tempfile::tempdir().expect("a folder");
    let sysfs = sysfs(folder.path());
    for (name, constructor, words) in [
        ("crashes", "*(volatile int *)8 = 0;", "the library crashed (SIGSEGV)"),
        ("aborts", "abort();", "the library crashed (SIGABRT)"),
        ("exits", "exit(0);", "the library ended the process with code 0"),
        ("leaves", "_exit(3);", "the library ended the process with code 3"),
    ] {
        let library = at_start(folder.path(), name, constructor);
        for (flag, source) in FLAGS {
            let mut running = Running::start(&mut serve(flag, source, &library, sysfs));
            let address = running.line("listening")["address"].as_str().expect("an address").to_owned();
            running.line(words);
            assert!(get(&address, "/-/healthy").ends_with("alive\n"));
            if source != "gaudi" {
                // Which goes on with the kernel's files.
                let down = format!("accelscope_source_up{{source=\"{source}\"}} 0\n");
                assert!(get(&address, "/metrics").contains(&down), "{name} {flag}");
                assert!(get(&address, "/").contains(words), "{name} {flag}");
            }
            assert_eq!(running.signal("-TERM").0, Some(0));
            let mut probe = command(PROGRAM);
            probe.args(["probe", "--isolate", "off", "--source", source, flag]).arg(&library);
            let output = probe.arg("--path.sysfs").arg(sysfs).output().expect("ran");
            let (shown, log) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(shown.contains(words) || log.contains(words), "{name} {flag}: {shown}{log}");
        }
    }
}

#[test]
fn a_constructor_that_hangs_blocks_neither_http_nor_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let sysfs = sysfs(folder.path());
    let library = at_start(folder.path(), "hangs", "for (;;) pause();");
    for (flag, source) in FLAGS {
        for isolate in ["on", "off"] {
            let mut running =
                Running::start(serve(flag, source, &library, sysfs).env("ACCELSCOPE_ISOLATE", isolate));
            let address = running.line("listening")["address"].as_str().expect("an address").to_owned();
            running.line("timed out");
            // A thread of the log or of HTTP that needs the loader's lock would wait for it here.
            for path in ["/-/healthy", "/metrics", "/"] {
                assert!(get(&address, path).starts_with("HTTP/1.0 200"), "{flag} {path}");
            }
            let (code, took) = running.signal("-TERM");
            assert_eq!(code, Some(0), "{flag}");
            assert!(took < Duration::from_secs(2), "{flag}: {took:?}");
        }
    }
}

#[test]
fn a_constructor_that_hangs_blocks_neither_tls_nor_passwords() {
    let folder = tempfile::tempdir().expect("a folder");
    let sysfs = sysfs(folder.path());
    let library = at_start(folder.path(), "hangs", "for (;;) pause();");
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).current_dir(folder.path()).args(arguments).output().expect("ran");
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let request =
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout key -out cert";
    run("openssl", &request.split(' ').collect::<Vec<_>>());
    let hash = run("perl", &["-e", "print crypt('one', '$2y$04$abcdefghijklmnopqrstuu')"]);
    let config = folder.path().join("web.yml");
    let text = format!(
        "tls_server_config: {{cert_file: cert, key_file: key}}\nbasic_auth_users: {{anna: {hash}}}\n"
    );
    fs::write(&config, text).expect("written");
    for (flag, source) in FLAGS {
        let mut command = serve(flag, source, &library, sysfs);
        let mut running = Running::start(command.arg("--web.config.file").arg(&config));
        let address = running.line("listening")["address"].as_str().expect("an address").to_owned();
        running.line("timed out");
        for version in ["--http2", "--http1.1"] {
            for (path, user, status) in
                [("/metrics", "anna:one", "200"), ("/", "anna:two", "401"), ("/-/healthy", "", "200")]
            {
                let url = format!("https://{address}{path}");
                let format = ["--silent", "--insecure", "--output", "body", "--write-out", "%{http_code}"];
                let shown = run("curl", &[&format[..], &[version, "--user", user, &url]].concat());
                assert_eq!(shown, status, "{flag} {version} {path}");
            }
        }
        assert_eq!(running.signal("-TERM").0, Some(0), "{flag}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let sysfs = sysfs(folder.path());
    let at = |name: &str| folder.path().join(name);
    assert!(Command::new("mkfifo").arg(at("pipe.so")).status().expect("coreutils").success());
    fs::create_dir(at("folder.so")).expect("created");
    symlink(at("pipe.so"), at("link.so")).expect("linked");
    for file in [at("pipe.so"), at("folder.so"), at("link.so"), "/dev/zero".into()] {
        for (flag, source) in FLAGS {
            let mut probe = command(PROGRAM);
            probe.args(["probe", "--source", source, flag]).arg(&file).arg("--path.sysfs").arg(sysfs);
            let mut child = probe.stdout(Stdio::piped()).spawn().expect("started");
            assert!(ended(&mut child).is_some(), "{flag} {} hangs", file.display());
            let output = child.wait_with_output().expect("read");
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(said.contains(&format!("{}: not a regular file", file.display())), "{flag}: {said}");
        }
    }
}

/// Whether a library that is searched for in `folder` was loaded, and what the program said.
fn is_loaded(folder: &Path, sysfs: &Path) -> (bool, String) {
    let mark = folder.join("loaded");
    let constructor = format!("close(open(\"{}\", O_CREAT | O_WRONLY, 0600));", mark.display());
    fs::rename(at_start(folder, "found", &constructor), folder.join("libnvidia-ml.so.1")).expect("renamed");
    let mut probe = Command::new(PROGRAM);
    probe.env_clear().env("LD_LIBRARY_PATH", folder).args(["probe", "--source", "nvidia", "--path.sysfs"]);
    let output = probe.arg(sysfs).output().expect("ran");
    (mark.exists(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn root_opens_no_library_that_others_can_change_unless_it_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let bus = folder.path().join("sys");
    let sysfs = sysfs(&bus);
    let is_root = runs_as_root();
    let libraries = folder.path().join("lib");
    fs::create_dir(&libraries).expect("created");
    fs::set_permissions(&libraries, fs::Permissions::from_mode(0o777)).expect("set");
    let (loaded, said) = is_loaded(&libraries, sysfs);
    assert_eq!(loaded, !is_root, "{said}");
    if is_root {
        assert!(said.contains("can be written by everybody, and is not loaded as root"), "{said}");
        assert!(said.contains("--library.nvml"), "{said}");
        fs::set_permissions(&libraries, fs::Permissions::from_mode(0o755)).expect("set");
        chown(libraries.join("libnvidia-ml.so.1"), Some(65534), None).expect("root may");
        let mut named = command(PROGRAM);
        named.args(["probe", "--library.nvml"]).arg(libraries.join("libnvidia-ml.so.1"));
        let output = named.output().expect("ran");
        assert!(libraries.join("loaded").exists(), "the administrator named it: {output:?}");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(log.contains("belongs to user 65534, and is loaded as root"), "{log}");
    }
}

fn runs_as_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("coreutils");
    output.stdout == b"0\n"
}

#[test]
fn without_hardware_or_module_no_library_is_searched_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let bus = folder.path().join("sys");
    fs::create_dir_all(bus.join("bus/pci/devices")).expect("created");
    let libraries = folder.path().join("lib");
    fs::create_dir(&libraries).expect("created");
    let (loaded, said) = is_loaded(&libraries, &bus);
    assert!(!loaded && said.contains("no NVIDIA GPU on the PCI bus and no module nvidia"), "{said}");
}
