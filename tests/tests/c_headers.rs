//! Comparing our structs and numbers with C headers, by a C compiler: it alone knows what a header means. A
//! program written in Rust against a library written in Rust would agree on a wrong layout.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

/// Headers, and what they must say: the lines of a C program that a compiler takes when they do.
pub struct Headers {
    lines: Vec<String>,
}

impl Headers {
    /// Nothing yet of these headers.
    pub fn new(includes: &[&str]) -> Self {
        let includes = ["stddef.h"].iter().chain(includes);
        Self { lines: includes.map(|header| format!("#include <{header}>")).collect() }
    }

    /// Each expression has this value.
    pub fn equal<E: AsRef<str>>(&mut self, facts: impl IntoIterator<Item = (E, u64)>) {
        facts.into_iter().for_each(|(expression, value)| self.compare(expression.as_ref(), "==", value));
    }

    /// Each expression has this value or a larger one: numbers that grow with the header.
    pub fn at_least<E: AsRef<str>>(&mut self, facts: impl IntoIterator<Item = (E, u64)>) {
        facts.into_iter().for_each(|(expression, value)| self.compare(expression.as_ref(), ">=", value));
    }

    fn compare(&mut self, expression: &str, operator: &str, value: u64) {
        let expected = format!("{expression} {operator} {value}");
        self.lines.push(format!(
            "_Static_assert((unsigned long long)({expression}) {operator} {value}ULL, \"expected {expected}\");"
        ));
    }

    /// Compiles the comparison, and then the same with one that is wrong, which the compiler must see.
    ///
    /// # Errors
    /// Every expression that has another value, as the compiler lists them; fewer lines than `at_least`.
    pub fn check(mut self, folders: &[&Path], at_least: usize) -> Result<()> {
        ensure!(self.lines.len() > at_least, "only {} lines to compare", self.lines.len());
        let (agrees, errors) = compile(&self.lines.join("\n"), folders)?;
        ensure!(agrees, "{errors}");
        self.compare("sizeof(char)", "==", 2);
        let (agrees, errors) = compile(&self.lines.join("\n"), folders)?;
        ensure!(!agrees && errors.contains("expected sizeof(char) == 2"), "{errors}");
        Ok(())
    }
}

fn compile(text: &str, folders: &[&Path]) -> Result<(bool, String)> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("facts.c");
    fs::write(&source, text)?;
    let mut command = Command::new("cc");
    command.args(["-std=gnu11", "-fsyntax-only"]).arg(&source);
    for folder in folders {
        command.arg("-I").arg(folder);
    }
    let output = command.output().context("cc is needed to read C headers; install gcc or clang")?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
}
