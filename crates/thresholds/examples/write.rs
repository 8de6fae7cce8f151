//! Writes the generated files under a folder.
use thresholds::{Format, Kind, Names, Overrides, generate};
fn main() {
    let root = std::env::args().nth(1).unwrap();
    for kind in Kind::ALL {
        for (path, text) in generate(kind, &Overrides::default(), Names::Both, Format::Prometheus) {
            let path = std::path::Path::new(&root).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
}
