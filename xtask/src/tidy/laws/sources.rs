//! Laws over the text of Rust files.

use std::collections::BTreeSet;

use crate::tidy::tree::{Tree, lines, words};

/// A file is read in one sitting.
const LINES_MAX: usize = 600;

/// Words that promise work instead of doing it. Spelt in halves, so that this file keeps its own law.
const PROMISES: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK:")];

/// Words of comments for which plain technical English has others: a function returns, a value is reported, a
/// fault is fixed. Spelt in halves, as above.
const RIDDLES: [&str; 8] = [
    concat!("ans", "wer"),
    concat!("ans", "wers"),
    concat!("ans", "wered"),
    concat!("tel", "ls"),
    concat!("to", "ld"),
    concat!("me", "nd"),
    concat!("me", "nded"),
    concat!("non", "sense"),
];

/// How a metric's name of our own begins; vendors' names are looked up in the catalogue, since some are the
/// names of labels, too.
const METRIC_PREFIXES: [&str; 2] = ["accel_", "accelscope_"];

/// Where metric names may be spelt: the catalogue, simulated vendors, tests, and the bench that reads peers.
const NAMING_ROOMS: [&str; 4] = ["crates/naming/", "crates/sim", "tests/", "xtask/"];

/// Crates that do no I/O, and the paths that would be I/O.
const PURE_CRATES: [&str; 4] =
    ["crates/naming/", "crates/reading/", "crates/exposition/", "crates/thresholds/"];
const IO: [&str; 9] =
    ["fs::", "net::", "env::", "process::", "thread::", "SystemTime::", "Instant::now", "print!", "println!"];

/// Every file begins with what it is for.
pub fn every_file_says_what_it_is_for(tree: &Tree) -> Vec<String> {
    let silent = tree.sources.iter().filter(|(_, text)| !text.starts_with("//!"));
    silent.map(|(path, _)| format!("{path}:1: begins with `//!` and what the file is for")).collect()
}

/// No file has more than [`LINES_MAX`] lines.
pub fn files_are_short(tree: &Tree) -> Vec<String> {
    let lengths = tree.sources.iter().map(|(path, text)| (path, text.lines().count()));
    let long = lengths.filter(|(_, length)| *length > LINES_MAX);
    long.map(|(path, length)| format!("{path}: {length} lines, more than {LINES_MAX}; split it by subject"))
        .collect()
}

/// Nothing is promised in place of being done.
pub fn no_promises(tree: &Tree) -> Vec<String> {
    lines(tree, |_| true)
        .filter(|line| PROMISES.iter().any(|word| line.whole.contains(word)))
        .map(|line| format!("{}: do it, or write down as a limit what is not done", line.place()))
        .collect()
}

/// Comments use none of [`RIDDLES`].
pub fn comments_are_plain_english(tree: &Tree) -> Vec<String> {
    lines(tree, |_| true)
        .filter(|line| words(&line.comment().to_lowercase()).any(|word| RIDDLES.contains(&word)))
        .map(|line| format!("{}: say `returns`, `reports`, `fixes` or what happens", line.place()))
        .collect()
}

/// Names of metrics are spelt in the catalogue alone.
pub fn metric_names_live_in_the_catalogue(tree: &Tree) -> Vec<String> {
    let vendors: BTreeSet<_> = naming::vendor_names().map(|row| row.name).collect();
    let names_metric = |string: &str| {
        METRIC_PREFIXES.iter().any(|prefix| string.contains(prefix))
            || words(string).any(|word| vendors.contains(word))
    };
    lines(tree, |path| !NAMING_ROOMS.iter().any(|room| path.starts_with(room)))
        .filter(|line| !line.is_test && line.strings().any(names_metric))
        .map(|line| format!("{}: a metric's name is spelt in crates/naming alone", line.place()))
        .collect()
}

/// The keyword stands in its rooms alone, and every root that can forbid it does.
pub fn unsafe_lives_in_its_rooms(tree: &Tree) -> Vec<String> {
    let is_room = |path: &str| {
        path.ends_with("/raw.rs")
            || path.contains("/raw/")
            || path.split('/').any(|folder| folder.ends_with("-sys") || folder.starts_with("sim-"))
    };
    let keyword = concat!("un", "safe");
    let mut broken: Vec<_> = lines(tree, |path| !is_room(path))
        .filter(|line| line.plain().flat_map(words).any(|word| word == keyword))
        .map(|line| format!("{}: belongs in raw.rs, a -sys crate or a sim- crate", line.place()))
        .collect();
    // A library with such a room cannot forbid it, since `forbid` has no exception; every other root does.
    let with_rooms: BTreeSet<_> =
        tree.sources.iter().filter(|(path, _)| is_room(path)).map(|(path, _)| crate_of(path)).collect();
    let must_forbid = |path: &str| {
        path.ends_with("src/main.rs")
            || path.contains("/src/bin/")
            || path.ends_with("src/lib.rs") && !with_rooms.contains(crate_of(path))
    };
    let forbids = "#![forbid(unsafe_code)]";
    let lax = tree.sources.iter().filter(|(path, text)| must_forbid(path) && !text.contains(forbids));
    broken.extend(lax.map(|(path, _)| format!("{path}:1: says `{forbids}`")));
    broken
}

/// Pure crates do no I/O.
pub fn pure_crates_do_no_io(tree: &Tree) -> Vec<String> {
    lines(tree, |path| PURE_CRATES.iter().any(|room| path.starts_with(room)))
        .filter(|line| !line.is_test && line.plain().any(|code| IO.iter().any(|word| code.contains(word))))
        .map(|line| format!("{}: this crate is pure: pass the value in", line.place()))
        .collect()
}

/// The folder of the crate that a file belongs to.
fn crate_of(path: &str) -> &str {
    path.split("/src/").next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::comments_are_plain_english;
    use crate::tidy::tree::Tree;

    fn broken(text: &str) -> usize {
        let sources = vec![("crates/x/src/lib.rs".to_owned(), text.to_owned())];
        comments_are_plain_english(&Tree { sources, ..Tree::of_packages(&[]) }).len()
    }

    #[test]
    fn a_riddle_is_found_in_a_comment_and_nowhere_else() {
        assert_eq!(broken(concat!("/// The driver ans", "wers nothing.\n")), 1);
        assert_eq!(broken(concat!("let x = 1; // To", "ld by its number.\n")), 1);
        assert_eq!(broken(concat!("let ans", "wer = \"to", "ld\"; // Recommended.\n")), 0);
    }
}
