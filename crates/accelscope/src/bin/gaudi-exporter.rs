//! The exporter for Intel Gaudi alone.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    exporter::main("gaudi-exporter", "Prometheus exporter for Intel Gaudi", &[gaudi_exporter::SPEC])
}
