//! The exporter for Intel NPUs alone.

#![forbid(unsafe_code)]

fn main() {
    exporter::main("npu-exporter", "Prometheus exporter for Intel NPUs", &[npu_exporter::SPEC])
}
