//! The exporter for NVIDIA GPUs alone.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    exporter::main("nvml-exporter", "Prometheus exporter for NVIDIA GPUs", &[nvml_exporter::SPEC])
}
