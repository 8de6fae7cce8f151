//! `cargo xtask demo`: the release build on a simulated machine, until Ctrl-C.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use e2e::{
    Artefacts, Node, eventually,
    http::{self, Request},
    process,
    wait::Final,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use sim::kernel::Tree;

use crate::shell::build;

/// The exporter's own port; the demo takes any other when it is in use.
const PORT: u16 = 9477;

/// Serves `--machine NAME` for `--seconds N`, or until Ctrl-C.
pub fn run(options: &[&str]) -> Result<()> {
    let mut machine = "h100-sxm-8";
    let mut seconds = u64::MAX;
    for option in options.chunks(2) {
        match option {
            ["--machine", name] => machine = name,
            ["--seconds", number] => {
                seconds = number.parse().with_context(|| format!("--seconds {number}"))?;
            }
            _ => {
                bail!("demo: unknown option `{}`; it takes --machine NAME and --seconds N", option.join(" "))
            }
        }
    }
    build(&["--release"])?;

    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let node = Node::with(Artefacts::release()?, machine)?;
    Tree::new(&node.sysfs())?.show(sim::bus::files(&sim::Profile::open(machine)?, &[]))?;
    let address = match TcpListener::bind(("127.0.0.1", PORT)) {
        Ok(listener) => listener.local_addr()?,
        Err(_) => process::free_address()?,
    };
    let mut serve = node.accelscope("serve", &["--web.listen-address", &address.to_string()])?;
    let mut exporter = serve.spawn()?;
    eventually("accelscope is ready", || {
        if let Some(status) = exporter.try_wait()? {
            bail!(Final(format!("it ended: {status}")));
        }
        http::send(address, Request::get("/-/ready"))?.ok()
    })?;
    println!(
        "\n  SIMULATED {machine}: no value below comes from hardware\n\n  \
         metrics   http://{address}/metrics\n  page      http://{address}/\n  \
         health    http://{address}/-/healthy  http://{address}/-/ready\n  \
         faults    write {} (see crates/sim/src/control.rs)\n\n  Ctrl-C ends it.\n",
        node.control_file().display()
    );

    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) && start.elapsed().as_secs() < seconds {
        if let Some(status) = exporter.try_wait()? {
            bail!("accelscope ended by itself: {status}");
        }
        thread::sleep(Duration::from_millis(100));
    }
    // After Ctrl-C in a terminal it has the signal already; a second one does no harm.
    process::send_signal("TERM", exporter.id())?;
    let status = exporter.wait()?;
    ensure!(status.success(), "accelscope did not end in order: {status}");
    println!("demo ended");
    Ok(())
}
