//! A simulated inference engine's metrics over HTTP. The first line printed is the address it serves on.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sim::clock::Clock;
use sim::engine::serve::{self, Live};
use sim::engine::{Options, STARTED, tables::EngineSpec};
use sim::workload::Workload;

/// Serves the metrics of a simulated inference engine.
#[derive(Parser)]
struct Flags {
    /// vllm, vllm-0.6, vllm-0.9, vllm-0.10, vllm-ray, sglang, tgi, trtllm, triton, tei, tei-rerank, ovms or
    /// ovms-model
    #[arg(long)]
    engine: EngineSpec,
    /// Name of the model that it serves
    #[arg(long, default_value = "llama")]
    model: String,
    /// Address; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Small variations follow from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// mixed, idle, prefill, decode, burst or hot, as for the machine
    #[arg(long, default_value = "mixed")]
    workload: Workload,
    /// `wall`, or `fixed:` and unix seconds
    #[arg(long, default_value = "wall")]
    clock: Clock,
    /// When the engine was started, unix seconds; counters begin at 0 here
    #[arg(long, default_value_t = STARTED)]
    started: u64,
    /// Control file, with `[[engine]]` tables; followed while the engine runs
    #[arg(long)]
    control: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("sim-engine: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> Result<(), String> {
    let options = Options {
        engine: flags.engine,
        model: flags.model,
        seed: flags.seed,
        workload: flags.workload,
        started: flags.started,
    };
    let live = Live::open(options, flags.clock, flags.control)?;
    let listen = |error| format!("--listen {}: {error}", flags.listen);
    let listener = TcpListener::bind(&flags.listen).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let mut out = std::io::stdout();
    writeln!(out, "{address}").and_then(|()| out.flush()).map_err(|error| format!("stdout: {error}"))?;
    serve::serve(live, listener).map_err(|error| error.to_string())
}
