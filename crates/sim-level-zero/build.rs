//! The tables of functions that the loader asks for point into this library: by address, not by name, so that
//! a test can take a name away as an older library lacks it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic-functions");
}
