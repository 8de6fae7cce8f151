//! Rows of the fault matrix, one of each kind and source; `cargo xtask faults` measures all.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Artefacts, matrix};

/// How long a look takes: six rounds of a source.
const DWELL: Duration = Duration::from_secs(3);

/// The row keeps its laws. How long a scrape took depends on what else the machine does, and is left to the command.
fn holds(source: &str, fault: &str) -> Result<()> {
    let wanted = |of: &str, name: &str| of == source && name == fault;
    let rows = matrix::run(&Artefacts::beside_this_program()?, DWELL, wanted, |_| ())?;
    ensure!(rows.len() == 1, "{} rows are called {source}: {fault}", rows.len());
    let broken = rows[0].broken_beside_time();
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

macro_rules! rows {
    ($($name:ident: $source:literal, $fault:literal;)*) => {$(
        #[test]
        fn $name() -> Result<()> {
            holds($source, $fault)
        }
    )*};
}

rows! {
    every_gpu_hangs: "nvidia", "every device hangs";
    one_of_eight_gpus_is_unplugged: "nvidia", "one device unplugged";
    a_gpu_returns_blanks: "nvidia", "every call: blanks";
    a_gaudi_writes_nothing: "gaudi", "every call: nothing written";
    a_gaudi_returns_blanks: "gaudi", "every call: blanks";
    texts_of_a_gaudi_have_no_end: "gaudi", "every call: texts without end";
    files_of_a_gaudi_cannot_be_read: "gaudi", "file * unreadable";
    one_of_eight_gaudis_is_unplugged: "gaudi", "one device unplugged";
    level_zero_writes_nothing: "xpu, Level Zero", "every call: nothing written";
    level_zero_is_reloaded: "xpu, Level Zero", "driver reloaded";
    level_zero_loses_one_of_eight_cards: "xpu, Level Zero", "one device unplugged";
    every_arc_is_unplugged: "xpu, kernel", "every device unplugged";
    counters_of_an_arc_are_empty: "xpu, kernel", "file energy1_input empty";
    files_of_an_npu_are_garbage: "npu", "file * garbage";
    an_npu_is_unplugged: "npu", "one device unplugged";
    files_of_a_xeon_cannot_be_read: "amx", "file * unreadable";
    the_topology_of_a_xeon_cannot_be_read: "amx", "file physical_package_id unreadable";
}
