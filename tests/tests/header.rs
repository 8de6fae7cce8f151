//! The simulated library against NVIDIA's own `nvml.h`: a C compiler compares every struct and constant that
//! the library relies on, and every function that the header declares must be there.
//!
//! A program written in Rust against a library written in Rust would agree on a wrong layout; only the header
//! can tell. `NVML_HEADER` names it; otherwise it is the one that `cargo xtask setup` fetched.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use e2e::{Node, artefacts::nvml_header};
use nvidia_ml::abi::{Layout, bounds, constants, layouts};
use object::{Object as _, ObjectSymbol};

fn header() -> Result<PathBuf> {
    let header = match std::env::var_os("NVML_HEADER") {
        Some(path) => PathBuf::from(path),
        None => nvml_header()?,
    };
    let missing = || format!("{} is not there; run `cargo xtask test`, which fetches it", header.display());
    ensure!(header.is_file(), missing());
    Ok(header)
}

/// One C assertion; the compiler prints the message of each that fails.
fn assertion(text: &mut String, left: &str, right: impl std::fmt::Display) -> Result<()> {
    writeln!(text, "_Static_assert({left} == {right}, \"{left} is not {right}\");")?;
    Ok(())
}

fn program() -> Result<String> {
    let mut text = "#include <stddef.h>\n#include \"nvml.h\"\n".to_owned();
    for Layout { name, size, align, members } in layouts() {
        if let Some(size) = size {
            assertion(&mut text, &format!("sizeof({name})"), size)?;
        }
        assertion(&mut text, &format!("_Alignof({name})"), align)?;
        for (member, offset) in members {
            assertion(&mut text, &format!("offsetof({name}, {member})"), offset)?;
        }
    }
    for (name, value) in constants() {
        assertion(&mut text, &format!("(unsigned long long)({name})"), format!("{value}ULL"))?;
    }
    for (name, value) in bounds() {
        writeln!(text, "_Static_assert({name} >= {value}, \"{name} is below {value}\");")?;
    }
    Ok(text)
}

#[test]
fn structs_and_constants_are_those_of_the_header() -> Result<()> {
    let header = header()?;
    let include = header.parent().context("the header lies in a folder")?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("layout.c");
    fs::write(&source, program()?)?;
    let output = Command::new("cc")
        .args(["-std=c11", "-fsyntax-only", "-I"])
        .arg(include)
        .arg(&source)
        .output()
        .context("cc is needed to read nvml.h; install gcc or clang")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn the_compiler_sees_what_differs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("wrong.c");
    let mut text = program()?;
    assertion(&mut text, "sizeof(nvmlUtilization_t)", 12)?;
    fs::write(&source, text)?;
    let include = header()?;
    let output = Command::new("cc")
        .args(["-std=c11", "-fsyntax-only", "-I"])
        .arg(include.parent().context("the header lies in a folder")?)
        .arg(&source)
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && errors.contains("sizeof(nvmlUtilization_t) is not 12"), "{errors}");
    Ok(())
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
