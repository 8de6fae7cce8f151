//! The simulated library against NVIDIA's own `nvml.h`: a C compiler compares every struct and constant that
//! the library relies on, and every function that the header declares must be there.
//!
//! `NVML_HEADER` names the header; otherwise it is the one that `cargo xtask setup` fetched.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use e2e::{Node, artefacts::nvml_header};
use nvidia_ml::abi::{bounds, constants, layouts};
use object::{Object as _, ObjectSymbol};

use crate::c_headers::Headers;

fn header() -> Result<PathBuf> {
    let header = match std::env::var_os("NVML_HEADER") {
        Some(path) => PathBuf::from(path),
        None => nvml_header()?,
    };
    let missing = || format!("{} is not there; run `cargo xtask test`, which fetches it", header.display());
    ensure!(header.is_file(), missing());
    Ok(header)
}

#[test]
fn structs_and_constants_are_those_of_the_header() -> Result<()> {
    let header = header()?;
    let mut headers = Headers::new(&["nvml.h"]);
    headers.equal(layouts());
    headers.equal(constants());
    headers.at_least(bounds());
    headers.check(&[header.parent().context("the header lies in a folder")?], 400)
}

/// The names of the functions that the header declares, old versions among them.
fn declared(header: &str) -> BTreeSet<String> {
    let after = header.split("DECLDIR").skip(1);
    let names = after.filter_map(|text| {
        let text = text.trim_start().trim_start_matches("char*").trim_start();
        let (name, _) = text.split_once('(')?;
        let name = name.trim();
        name.starts_with("nvml").then(|| name.to_owned())
    });
    names.collect()
}

#[test]
fn every_function_of_the_header_is_exported() -> Result<()> {
    let declared = declared(&fs::read_to_string(header()?)?);
    ensure!(declared.len() > 400, "only {} functions were found in the header", declared.len());
    let library = fs::read(Node::new("h100-sxm-8")?.library())?;
    let library = object::File::parse(&*library)?;
    let exported: BTreeSet<String> = library
        .dynamic_symbols()
        .filter(ObjectSymbol::is_definition)
        .filter_map(|symbol| symbol.name().ok().map(str::to_owned))
        .collect();
    let missing: Vec<_> = declared.difference(&exported).collect();
    ensure!(missing.is_empty(), "not exported: {missing:?}");
    ensure!(exported.contains("accelsim_machine"), "nothing says that the library is simulated");
    Ok(())
}
