//! The page of an exporter, looked at in a real browser.

use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    artefacts::{CHROMIUM, node_tools, repository},
    process,
};

/// Opens the page at `url`, with or without its script, takes the steps and returns what was seen, both as
/// `tests/live/look.mjs` describes them.
pub fn look(url: &str, script: bool, steps: &[Value]) -> Result<Value> {
    let input = json!({ "browser": CHROMIUM, "url": url, "script": script, "steps": steps });
    let (node, tools) = node_tools()?;
    let mut command = Command::new(node);
    command.arg(repository().join("tests/live/look.mjs")).arg(tools);
    Ok(serde_json::from_str(&process::run_with(&mut command, &input.to_string())?.success()?)?)
}
