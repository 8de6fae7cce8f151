//! Standard output.

use std::{
    io::{ErrorKind, IsTerminal, Write, stdout},
    process::ExitCode,
};

use terminal_size::{Width, terminal_size};

use crate::Failure;

/// Prints text as it is. A reader that closes the pipe early (`head`) is not a failure.
pub fn text(text: &str) -> Result<ExitCode, Failure> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Prints lines for people, no wider than their terminal.
pub fn table(lines: &str) -> Result<ExitCode, Failure> {
    match terminal_size().filter(|_| stdout().is_terminal()) {
        Some((Width(columns), _)) => {
            text(&lines.lines().map(|line| fit(line, columns.into()) + "\n").collect::<String>())
        }
        None => text(lines),
    }
}

/// Cuts a line that does not fit and shows that it was cut.
fn fit(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn lines_are_cut_to_a_narrow_terminal() {
        assert_eq!(fit("accel_power_watts  412.5", 12), "accel_power…");
        assert_eq!(fit("accel_power_watts  412.5", 24), "accel_power_watts  412.5");
        assert_eq!(fit("", 0), "");
    }
}
