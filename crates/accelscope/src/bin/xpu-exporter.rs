//! The exporter for Intel GPUs alone.

#![forbid(unsafe_code)]

fn main() {
    exporter::main("xpu-exporter", "Prometheus exporter for Intel GPUs", &[xpu_exporter::SPEC])
}
