//! Reference pages, generated from the catalogue and the command line that the program itself uses.

pub mod cardinality;
pub mod faults;
pub mod flags;
pub mod manual;
pub mod metrics;

/// Appends a heading and a table; nothing at all when there are no rows.
fn table<const N: usize>(
    page: &mut String,
    heading: &str,
    columns: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    page.extend([heading, "\n| ", &columns.join(" | "), " |\n|", &"---|".repeat(N), "\n"]);
    for row in rows {
        let cells = row.map(|cell| cell.replace('|', "\\|"));
        page.extend(["| ", &cells.join(" | "), " |\n"]);
    }
}
