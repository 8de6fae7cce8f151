//! The exporter for Intel GPUs alone.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    exporter::main("xpu-exporter", "Prometheus exporter for Intel GPUs", &[xpu_exporter::SPEC])
}
