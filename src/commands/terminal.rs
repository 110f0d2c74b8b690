//! The size of a terminal, and the frame of `status --watch` that fits into it.

use std::io::stdout;
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthChar as _;

use crate::show::{DIM, WIDTH, plural};

/// The rows of a terminal that does not tell its size.
const ROWS: usize = 24;

/// The columns and the rows of a stream as they are now; none if it is no terminal.
pub(super) fn size_of(stream: impl AsFd) -> Option<(usize, usize)> {
    let size = tcgetwinsize(stream).ok()?;
    let told = |number: u16, otherwise| match usize::from(number) {
        0 => otherwise,
        number => number,
    };
    Some((told(size.ws_col, WIDTH), told(size.ws_row, ROWS)))
}

/// The columns and the rows of standard output.
pub(super) fn size() -> (usize, usize) {
    size_of(stdout()).unwrap_or((WIDTH, ROWS))
}

/// The lines that fit, each cut at the last column. If some are left out, the last line counts
/// them.
pub(super) fn fit(lines: &[String], (columns, rows): (usize, usize)) -> Vec<String> {
    let mut lines: Vec<_> = lines
        .iter()
        .flat_map(|line| line.split('\n'))
        .map(|line| cut(line, columns))
        .collect();
    if lines.len() > rows {
        let kept = rows.saturating_sub(1);
        let left = i64::try_from(lines.len() - kept).unwrap_or(i64::MAX);
        lines.truncate(kept);
        let text = format!(
            "and {}, for which the terminal is too low",
            plural(left, "line")
        );
        lines.push(cut(&format!("{DIM}{text}{DIM:#}"), columns));
    }
    lines
}

/// The line, cut at this number of columns. Its styles stay, and end with it.
fn cut(line: &str, columns: usize) -> String {
    let (mut kept, mut used, mut is_style) = (String::with_capacity(line.len()), 0, false);
    for c in line.chars() {
        is_style |= c == '\x1b';
        if !is_style {
            used += c.width().unwrap_or(0);
        }
        if is_style || used <= columns {
            kept.push(c);
        }
        is_style &= c != 'm';
    }
    kept
}

/// The control sequences and the lines that replace what is on the terminal. There is no line feed
/// behind the last line, because it would scroll the first one away.
pub(super) fn frame(lines: &[String]) -> String {
    format!("\x1b[H\x1b[2J{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(number: usize) -> Vec<String> {
        (1..=number).map(|line| format!("line {line}")).collect()
    }

    #[test]
    fn a_frame_has_the_size_of_the_terminal_and_its_first_lines() {
        assert_eq!(fit(&lines(3), (80, 3)), lines(3));
        let cut = fit(&lines(9), (80, 3));
        assert_eq!(cut[..2], lines(2));
        assert!(cut[2].contains("and 7 lines"), "{cut:?}");
        let wrapped = ["a\nb".to_owned(), "c".to_owned()];
        assert_eq!(fit(&wrapped, (80, 3)), ["a", "b", "c"]);
    }

    #[test]
    fn a_line_is_cut_by_its_columns_and_keeps_the_end_of_its_styles() {
        let line = format!("{DIM}日本語 text{DIM:#}");
        assert_eq!(cut(&line, 4), format!("{DIM}日本{DIM:#}"));
        assert_eq!(cut(&line, 80), line);
        assert_eq!(cut("text", 2), "te");
    }
}
