//! The exporter for Intel NPUs alone.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    exporter::main("npu-exporter", "Prometheus exporter for Intel NPUs", &[npu_exporter::SPEC])
}
