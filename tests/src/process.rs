//! A child process that is heard while it runs, measured through /proc, and killed when dropped.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{eventually, wait::Final};

/// Kernel clock ticks per second in /proc/PID/stat: 100 on every Linux, whatever its HZ.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running child process.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<String>>,
    quiet: bool,
}

impl Process {
    /// Starts `command`; both its output streams are collected.
    pub fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name}: {} does not start", command.get_program().display()))?;
        let log = Arc::default();
        collect(child.stdout.take(), &log);
        collect(child.stderr.take(), &log);
        Ok(Self { name: name.to_owned(), child, log, quiet: false })
    }

    /// Does not print the collected output when dropped, as a failing test wants it.
    pub fn quiet(&mut self) {
        self.quiet = true;
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process ids of the process and its children.
    pub fn and_children(&self) -> Result<Vec<u32>> {
        let mut all = vec![self.id()];
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            // A thread may end meanwhile.
            let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        Ok(all)
    }

    /// Everything written to standard output and error so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("the collecting threads do not panic").clone()
    }

    /// The exit status, if the process has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails when the process has ended, with what it wrote.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(Final(format!("{} ended with {status}:\n{}", self.name, self.log())).into()),
        }
    }

    /// Sends a signal by its short name, such as `TERM`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        send_signal(signal, self.id())
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let name = self.name.clone();
        eventually(&format!("{name} ends"), || self.ended()?.context("still running"))
    }

    /// User and system CPU seconds since the start, in steps of 10 ms; threads that ended count too.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = self.proc_file("stat")?;
        // The second field is the program's name in parentheses and may hold anything.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has a name in parentheses")?;
        let ticks = |field: usize| -> Result<f64> {
            Ok(fields.split_whitespace().nth(field - 3).context("/proc/PID/stat is short")?.parse()?)
        };
        Ok((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
    }

    /// CPU seconds of the threads that are alive, in nanosecond steps: for spans in which none ends.
    pub fn cpu_seconds_of_threads(&self) -> Result<f64> {
        let mut nanoseconds = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds +=
                schedstat.split_whitespace().next().context("schedstat is empty")?.parse::<f64>()?;
        }
        Ok(nanoseconds / 1e9)
    }

    /// Resident memory in bytes (`VmRSS`).
    pub fn resident_bytes(&self) -> Result<u64> {
        Ok(self.status_field("VmRSS")? * 1024)
    }

    /// The most memory that was ever resident, in bytes (`VmHWM`).
    pub fn peak_resident_bytes(&self) -> Result<u64> {
        Ok(self.status_field("VmHWM")? * 1024)
    }

    /// Number of threads.
    pub fn threads(&self) -> Result<u64> {
        self.status_field("Threads")
    }

    fn status_field(&self, name: &str) -> Result<u64> {
        let status = self.proc_file("status")?;
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .with_context(|| format!("/proc/PID/status has no {name}"))?;
        Ok(value.trim().trim_end_matches(" kB").parse()?)
    }

    fn proc_file(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.id());
        fs::read_to_string(&path).with_context(|| format!("{path} ({})", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A failure here means that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.quiet {
            eprintln!("--- output of {} ---\n{}", self.name, self.log());
        }
    }
}

fn collect(stream: Option<impl Read + Send + 'static>, log: &Arc<Mutex<String>>) {
    let Some(stream) = stream else { return };
    let log = Arc::clone(log);
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            log.lock().expect("nobody panics while logging").push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

/// Runs `command` to its end; returns its exit code and both its streams as text.
pub fn run(command: &mut Command) -> Result<Finished> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{}", command.get_program().display()))?;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs `command` to its end with `input` on its standard input.
pub fn run_with(command: &mut Command, input: &str) -> Result<Finished> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{}", command.get_program().display()))?;
    let mut stdin = child.stdin.take().context("a pipe to it")?;
    let text = input.to_owned();
    // It may write before it has read all; one that reads no further has said why.
    let writer = thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    let _ = writer.join();
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A command that ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output, or an error with all that was printed when the exit code is not 0.
    pub fn success(self) -> Result<String> {
        ensure!(self.code == Some(0), "exit code {:?}:\n{}{}", self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

/// A free address on loopback that no other test process asks for.
///
/// Programs that need a port as an argument cannot take port 0. Each process hands out ports of its own
/// address in 127.0.0.0/8, so two tests that run at the same time cannot be given the same one.
pub fn free_address() -> Result<SocketAddr> {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // The first octets 64..: clear of 127.0.0.1, where other programs listen. Ids stay below 2^22.
    let own = IpAddr::V4(Ipv4Addr::new(127, 64 + high, middle, low));
    Ok(TcpListener::bind((own, 0))?.local_addr()?)
}

/// How long a process that ends in order may take, on a machine with other work: the promised two seconds
/// and as much again.
pub const SHUTDOWN: Duration = Duration::from_secs(4);

/// Sends a signal by its short name, through the shell: a minimal system has no `kill` of its own.
pub fn send_signal(signal: &str, pid: u32) -> Result<()> {
    let status = Command::new("sh").args(["-c", &format!("kill -s {signal} {pid}")]).status()?;
    ensure!(status.success(), "kill -s {signal} {pid}: {status}");
    Ok(())
}
