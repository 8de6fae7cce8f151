//! The laws of the house that no compiler checks. A law is a function that returns what breaks it.
//!
//! | module | laws |
//! |---|---|
//! | [`laws::sources`] | over the text of Rust files |
//! | [`laws::packages`] | over manifests and the packages that cargo resolves |
//! | [`laws::architecture`] | ARCHITECTURE.md's table of crates against the dependencies of our packages |
//! | [`laws::vendors`] | ARCHITECTURE.md's list of the files that a vendor changes, against those that name one |
//! | [`programs`] | over programs that are built |

mod laws;
mod programs;
pub mod tree;

use anyhow::{Result, ensure};

pub use programs::{linked_libraries, no_builder_paths};
use tree::Tree;

/// A law, returning what breaks it.
type Law = fn(&Tree) -> Vec<String>;

/// Checks every law; lists all that is broken.
pub fn run() -> Result<()> {
    let tree = Tree::read()?;
    let broken: Vec<_> = laws::ALL.iter().flat_map(|law| law(&tree)).collect();
    ensure!(broken.is_empty(), "{} broken:\n  {}", broken.len(), broken.join("\n  "));
    println!(
        "{} laws hold over {} files and {} packages",
        laws::ALL.len(),
        tree.sources.len(),
        tree.packages.len()
    );
    Ok(())
}
