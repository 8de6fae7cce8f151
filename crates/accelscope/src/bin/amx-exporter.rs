//! The exporter for the sockets of a Xeon alone.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    exporter::main(
        "amx-exporter",
        "Prometheus exporter for Xeon sockets and their AMX",
        &[amx_exporter::SPEC],
    )
}
