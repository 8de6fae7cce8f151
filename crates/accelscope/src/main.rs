//! The agent: every source in one process.

#![forbid(unsafe_code)]

fn main() {
    exporter::main(
        "accelscope",
        "Prometheus exporter for accelerators of every vendor on this node",
        &[
            nvml_exporter::SPEC,
            gaudi_exporter::SPEC,
            xpu_exporter::SPEC,
            npu_exporter::SPEC,
            amx_exporter::SPEC,
        ],
    )
}
